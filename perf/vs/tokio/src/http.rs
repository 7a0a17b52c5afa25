use crate::bench::runtime;
use hyper::service::{make_service_fn, service_fn};
use hyper::{Body, Request, Response, Server, StatusCode};
use std::convert::Infallible;

async fn answer(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Body::from("hello, world\n"));
    if request.uri().path() != "/hello" {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    Ok(response)
}

pub fn hello(address: &str) {
    runtime(1).block_on(async {
        let service = make_service_fn(|_| async { Ok::<_, Infallible>(service_fn(answer)) });
        let server = Server::bind(&address.parse().unwrap())
            .http1_only(true)
            .tcp_nodelay(true)
            .serve(service);
        println!("listening {}", server.local_addr());
        server.await.unwrap();
    });
}
