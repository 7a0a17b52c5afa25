package main

import (
	"context"
	"runtime"
	"sync"
	"time"
)

func joined(count int) int {
	ended := 0
	for i := 0; i < count; i++ {
		var wg sync.WaitGroup
		wg.Add(1)
		go func() {
			ended++
			wg.Done()
		}()
		wg.Wait()
	}
	return ended
}

func grouped(count int) int {
	ended := 0
	var wg sync.WaitGroup
	wg.Add(count)
	for i := 0; i < count; i++ {
		go func() {
			ended++
			wg.Done()
		}()
	}
	wg.Wait()
	return ended
}

func spawns(count, rounds int) {
	measure("spawn+join, one by one", joined, count, rounds)
	measure("spawn+join, all at once", grouped, count, rounds)
}

func yields(count int) int {
	for i := 0; i < count; i++ {
		runtime.Gosched()
	}
	return count
}

// yieldsAmong has `width` goroutines that yield in turn.
func yieldsAmong(count int) int {
	const width = 100
	sum := 0
	var wg sync.WaitGroup
	wg.Add(width)
	for i := 0; i < width; i++ {
		go func() {
			sum += yields(count / width)
			wg.Done()
		}()
	}
	wg.Wait()
	return sum
}

func switches(count, rounds int) {
	measure("yield, alone", yields, count, rounds)
	measure("yield, among 100", yieldsAmong, count, rounds)
}

func uncontended(count int) int {
	var m sync.Mutex
	sum := 0
	for i := 0; i < count; i++ {
		m.Lock()
		sum += i
		m.Unlock()
	}
	return sum
}

func contended(count, width int, yield bool) int {
	var m sync.Mutex
	var wg sync.WaitGroup
	sum := 0
	wg.Add(width)
	for i := 0; i < width; i++ {
		go func() {
			for n := 0; n < count/width; n++ {
				m.Lock()
				if yield {
					runtime.Gosched()
				}
				sum++
				m.Unlock()
			}
			wg.Done()
		}()
	}
	wg.Wait()
	return sum
}

func hundred(count int) int { return contended(count, 100, true) }
func two(count int) int     { return contended(count, 2, false) }

func mutexes(count, rounds int) {
	measure("lock + unlock", uncontended, count, rounds)
	measure("100 goroutines, yield inside", hundred, count, rounds)
	onTwo("2 cores, 1 goroutine each", two, count/10, rounds)
	onTwo("2 cores, 100, yield inside", hundred, count/10, rounds)
}

func derive(count int) int {
	parent, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := 0
	for i := 0; i < count; i++ {
		ctx, cancel := context.WithCancel(parent)
		cancel()
		if ctx.Err() != nil {
			ended++
		}
	}
	return ended
}

func cancelWaiters(count, rounds int) {
	s := samples{name: "cancel a waiter", unit: "ns", count: count}
	ended := 0
	for r := 0; r < rounds; r++ {
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Add(count)
		for i := 0; i < count; i++ {
			go func() {
				<-ctx.Done()
				ended++
				wg.Done()
			}()
		}
		runtime.Gosched()
		start := time.Now()
		cancel()
		wg.Wait()
		s.add(time.Since(start).Nanoseconds())
	}
	s.print(ended)
}

func contexts(count, rounds int) {
	measure("with_cancel and its end", derive, count, rounds)
	cancelWaiters(count, rounds)
}
