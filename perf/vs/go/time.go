package main

import (
	"sync"
	"time"
)

// timers: `count` goroutines sleep 1 to 100 ms each; CPU per timer.
func timers(count, rounds int) {
	s := samples{name: "timer 1-100 ms, CPU", unit: "ns", count: count}
	ended := 0
	for r := 0; r < rounds; r++ {
		start := cpu()
		var wg sync.WaitGroup
		wg.Add(count)
		random := uint32(1)
		for i := 0; i < count; i++ {
			random = random*1664525 + 1013904223
			ms := 1 + (random>>8)%100
			go func() {
				time.Sleep(time.Duration(ms) * time.Millisecond)
				ended++
				wg.Done()
			}()
		}
		wg.Wait()
		s.add(cpu() - start)
	}
	s.print(ended)
}

func sleepers(count, _ int) {
	memory := samples{name: "asleep, each", unit: "bytes", count: count}
	starting := samples{name: "fall asleep, CPU", unit: "ns", count: count}
	waking := samples{name: "wake and end, CPU", unit: "ns", count: count}
	before, start := resident(), cpu()
	until := time.Now().Add(50*time.Millisecond + time.Duration(count)*8*time.Microsecond)
	ended := 0
	var wg, asleep sync.WaitGroup
	wg.Add(count)
	asleep.Add(count)
	for i := 0; i < count; i++ {
		go func() {
			asleep.Done()
			time.Sleep(time.Until(until))
			ended++
			wg.Done()
		}()
	}
	asleep.Wait()
	memory.add(resident() - before)
	all := cpu()
	starting.add(all - start)
	wg.Wait()
	waking.add(cpu() - all)
	memory.print(count)
	starting.print(count)
	waking.print(ended)
}
