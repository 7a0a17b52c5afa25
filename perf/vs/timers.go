// The same as perf/timers.cpp: COUNT goroutines sleep 1 to 100 ms each; CPU per timer.
//
//	go run perf/vs/timers.go [COUNT] [ROUNDS]
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"syscall"
	"time"
)

func cpu() int64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

func argument(i, otherwise int) int {
	if len(os.Args) > i {
		if n, err := strconv.Atoi(os.Args[i]); err == nil {
			return n
		}
	}
	return otherwise
}

func main() {
	runtime.GOMAXPROCS(1)
	count, rounds := argument(1, 1000000), argument(2, 7)
	var ns []float64
	ended := 0
	for r := 0; r < rounds; r++ {
		start := cpu()
		var wg sync.WaitGroup
		random := uint32(1)
		for i := 0; i < count; i++ {
			random = random*1664525 + 1013904223
			ms := 1 + (random>>8)%100
			wg.Add(1)
			go func() {
				time.Sleep(time.Duration(ms) * time.Millisecond)
				ended++
				wg.Done()
			}()
		}
		wg.Wait()
		ns = append(ns, float64(cpu()-start)/float64(count))
	}
	first := ns[0]
	sort.Float64s(ns)
	fmt.Printf("%-28s %8.2f ns/op   min %.2f  max %.2f  first %.2f   n %d x %d   checksum %d\n",
		"Go timer 1-100 ms, CPU", ns[len(ns)/2], ns[0], ns[len(ns)-1], first, count, rounds, ended)
}
