// The workloads of perf/*.cpp in Go: the same names, sizes, checksums and columns.
//
//	go run ./perf/vs/go GROUP [COUNT] [ROUNDS]
//	go run ./perf/vs/go echo HOST:PORT
//	go run ./perf/vs/go http HOST:PORT
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"syscall"
	"time"
)

var groups = map[string]func(count, rounds int){
	"chan":        channels,
	"context":     contexts,
	"mutex":       mutexes,
	"parked":      parked,
	"select_many": selectMany,
	"sieve":       sieves,
	"skynet":      skynets,
	"sleepers":    sleepers,
	"spawn":       spawns,
	"switch":      switches,
	"timers":      timers,
	"two_cores":   twoCores,
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: GROUP [COUNT] [ROUNDS] | echo HOST:PORT | http HOST:PORT")
		os.Exit(2)
	}
	if os.Args[1] == "echo" {
		echo(os.Args[2])
	} else if os.Args[1] == "http" {
		hello(os.Args[2])
	} else if group := groups[os.Args[1]]; group != nil {
		runtime.GOMAXPROCS(1)
		group(argument(2, 100000), argument(3, 3))
	}
}

func argument(i, otherwise int) int {
	if len(os.Args) > i {
		if n, err := strconv.Atoi(os.Args[i]); err == nil {
			return n
		}
	}
	return otherwise
}

func cpu() int64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// resident gives the memory that this process has resident, in bytes.
func resident() int64 {
	var pages, resident int64
	if f, err := os.Open("/proc/self/statm"); err == nil {
		fmt.Fscan(f, &pages, &resident)
		f.Close()
	}
	return resident * 4096
}

// samples are the rounds of one question.
type samples struct {
	name, unit string
	count      int
	each       []float64
}

func (s *samples) add(total int64) {
	s.each = append(s.each, float64(total)/float64(s.count))
}

var titled = false

func (s *samples) print(checksum int) {
	if !titled {
		fmt.Println("workload\tn\tunit\tmedian\tmin\tmax\tfirst\tchecksum")
		titled = true
	}
	first := s.each[0]
	sort.Float64s(s.each)
	fmt.Printf("%-28s\t%9d\t%s\t%9.2f\t%9.2f\t%9.2f\t%9.2f\t%d\n", s.name, s.count, s.unit,
		s.each[len(s.each)/2], s.each[0], s.each[len(s.each)-1], first, checksum)
}

// measure times `work(count)`, which returns its share of the checksum, `rounds` times.
func measure(name string, work func(count int) int, count, rounds int) {
	s := samples{name: name, unit: "ns", count: count}
	checksum := 0
	for i := 0; i < rounds; i++ {
		start := time.Now()
		checksum += work(count)
		s.add(time.Since(start).Nanoseconds())
	}
	s.print(checksum)
}

// onTwo measures with two processors.
func onTwo(name string, work func(count int) int, count, rounds int) {
	runtime.GOMAXPROCS(2)
	measure(name, work, count, rounds)
	runtime.GOMAXPROCS(1)
}
