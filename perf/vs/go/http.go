package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

func hello(address string) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening", listener.Addr())
	http.HandleFunc("/hello", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello, world\n")
	})
	http.Serve(listener, nil)
}
