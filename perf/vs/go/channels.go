package main

import (
	"reflect"
	"runtime"
	"sync"
	"time"
)

// selectMany: each select waits for all `arms` channels, then one of them gets a value.
func selectMany(arms, rounds int) {
	const selects = 20
	s := samples{name: "select of n, an arm", unit: "ns", count: arms}
	from := make([]chan int, arms)
	cases := make([]reflect.SelectCase, arms)
	for i := range from {
		from[i] = make(chan int)
		cases[i] = reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(from[i])}
	}
	sum := 0
	for r := 0; r < rounds; r++ {
		start := time.Now()
		go func() {
			for i := 0; i < selects; i++ {
				from[i*7919%arms] <- i
			}
		}()
		for i := 0; i < selects; i++ {
			_, v, _ := reflect.Select(cases)
			sum += int(v.Int())
		}
		s.add(time.Since(start).Nanoseconds() / selects)
	}
	s.print(sum)
}

// apart: partners are on different threads, which Go's scheduler would not do by itself.
var apart = false

func keepApart() {
	if apart {
		runtime.LockOSThread()
	}
}

func pingPong(count int) int {
	there, back := make(chan int), make(chan int)
	go func() {
		keepApart()
		for v := range there {
			back <- v + 1
		}
	}()
	sum := 0
	for i := 0; i < count; i++ {
		there <- i
		sum += <-back
	}
	close(there)
	return sum
}

func produce(c chan<- int, first, count int) {
	for i := first; i < first+count; i++ {
		c <- i
	}
	close(c)
}

func items(count, capacity int) int {
	c := make(chan int, capacity)
	go produce(c, 0, count)
	sum := 0
	for v := range c {
		sum += v
	}
	return sum
}

func unbuffered(count int) int { return items(count, 0) }
func buffered(count int) int   { return items(count, 128) }

func producers(count, arms int) []chan int {
	from := make([]chan int, arms)
	for i := range from {
		from[i] = make(chan int, 128)
		go produce(from[i], i*count, count/arms)
	}
	return from
}

func selectOf2(count int) int {
	from := producers(count, 2)
	a, b := from[0], from[1]
	sum := 0
	for a != nil || b != nil {
		select {
		case v, ok := <-a:
			sum += v
			if !ok {
				a = nil
			}
		case v, ok := <-b:
			sum += v
			if !ok {
				b = nil
			}
		}
	}
	return sum
}

func selectOf16(count int) int {
	f := producers(count, 16)
	sum := 0
	for open := 16; open > 0; {
		var i, v int
		var ok bool
		select {
		case v, ok = <-f[0]:
			i = 0
		case v, ok = <-f[1]:
			i = 1
		case v, ok = <-f[2]:
			i = 2
		case v, ok = <-f[3]:
			i = 3
		case v, ok = <-f[4]:
			i = 4
		case v, ok = <-f[5]:
			i = 5
		case v, ok = <-f[6]:
			i = 6
		case v, ok = <-f[7]:
			i = 7
		case v, ok = <-f[8]:
			i = 8
		case v, ok = <-f[9]:
			i = 9
		case v, ok = <-f[10]:
			i = 10
		case v, ok = <-f[11]:
			i = 11
		case v, ok = <-f[12]:
			i = 12
		case v, ok = <-f[13]:
			i = 13
		case v, ok = <-f[14]:
			i = 14
		case v, ok = <-f[15]:
			i = 15
		}
		sum += v
		if !ok {
			f[i] = nil
			open--
		}
	}
	return sum
}

func selectDefault(count int) int {
	a, b := make(chan int), make(chan int)
	idle := 0
	for i := 0; i < count; i++ {
		select {
		case <-a:
		case <-b:
		default:
			idle++
		}
	}
	return idle
}

func channels(count, rounds int) {
	measure("ping-pong, round trip", pingPong, count, rounds)
	measure("unbuffered, item", unbuffered, count, rounds)
	measure("buffered 128, item", buffered, count, rounds)
	measure("select of 2, item", selectOf2, count, rounds)
	measure("select of 16, item", selectOf16, count, rounds)
	measure("select, otherwise", selectDefault, count, rounds)
}

// stream has `pairs` producers and as many consumers on one channel.
func stream(count, pairs int) int {
	c := make(chan int, 128)
	sums := make(chan int, pairs)
	var wg sync.WaitGroup
	wg.Add(pairs)
	for i := 0; i < pairs; i++ {
		go func() {
			keepApart()
			for n := 0; n < count/pairs; n++ {
				c <- n
			}
			wg.Done()
		}()
		go func() {
			keepApart()
			sum := 0
			for v := range c {
				sum += v
			}
			sums <- sum
		}()
	}
	wg.Wait()
	close(c)
	total := 0
	for i := 0; i < pairs; i++ {
		total += <-sums
	}
	return total
}

func oneToOne(count int) int { return stream(count, 1) }
func twoByTwo(count int) int { return stream(count, 2) }

func twoCores(count, rounds int) {
	onTwo("2 cores: ping-pong", pingPong, count/20, rounds)
	onTwo("2 cores: buffered 128, item", oneToOne, count, rounds)
	onTwo("2 cores: 2 to 2, item", twoByTwo, count, rounds)
	apart = true
	keepApart()
	onTwo("apart: ping-pong", pingPong, count/20, rounds)
	onTwo("apart: buffered 128, item", oneToOne, count, rounds)
	apart = false
}

func parked(count, rounds int) {
	memory := samples{name: "parked on a channel, each", unit: "bytes", count: count}
	waking := samples{name: "closed, wake each", unit: "ns", count: count}
	before := resident()
	woken := 0
	for r := 0; r < rounds; r++ {
		gate := make(chan int)
		var wg sync.WaitGroup
		wg.Add(count)
		for i := 0; i < count; i++ {
			go func() {
				if _, ok := <-gate; !ok {
					woken++
				}
				wg.Done()
			}()
		}
		runtime.Gosched()
		if r == 0 {
			memory.add(resident() - before)
		}
		start := time.Now()
		close(gate)
		wg.Wait()
		waking.add(time.Since(start).Nanoseconds())
	}
	memory.print(count)
	waking.print(woken)
}

func generate(out chan<- int) {
	for i := 2; ; i++ {
		out <- i
	}
}

func filter(in <-chan int, out chan<- int, prime int) {
	for {
		if i := <-in; i%prime != 0 {
			out <- i
		}
	}
}

// sieve is the one of Go's tutorial: to end its goroutines would cost it a select at each send.
// They run on until all block, so measure one round in a process.
func sieve(primes int) int {
	numbers := make(chan int)
	go generate(numbers)
	prime := 0
	for i := 0; i < primes; i++ {
		prime = <-numbers
		rest := make(chan int)
		go filter(numbers, rest, prime)
		numbers = rest
	}
	return prime
}

func sieves(count, rounds int) {
	measure("sieve, a prime", sieve, count, rounds)
}

func node(up chan<- int, number, size int) {
	if size == 1 {
		up <- number
		return
	}
	children := make(chan int)
	for i := 0; i < 10; i++ {
		go node(children, number+i*(size/10), size/10)
	}
	sum := 0
	for i := 0; i < 10; i++ {
		sum += <-children
	}
	up <- sum
}

func skynet(leaves int) int {
	result := make(chan int)
	go node(result, 0, leaves)
	return <-result
}

func skynets(count, rounds int) {
	measure("skynet, a leaf", skynet, count, rounds)
	onTwo("skynet on 2 cores, a leaf", skynet, count, rounds)
}
