//! The balancer: every request goes on, streams flow, and a target that is gone is skipped.

use std::net::SocketAddr;

use testkit::raw::{RawServer, Script, feed};
use testkit::{balancer, http};

async fn before(targets: Vec<SocketAddr>) -> (balancer::Running, String) {
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let running = balancer::serve(anywhere, targets).await.unwrap();
    let url = format!("http://{}/mcp/x?y=1", running.address());
    (running, url)
}

async fn replica(number: usize) -> RawServer {
    RawServer::start(move |_| Script::json(format!("{{\"replica\":{number}}}")))
        .await
        .unwrap()
}

async fn asked(url: &str) -> u64 {
    let mut reply = http::post(url, "{}").unwrap().send().await.unwrap();
    reply.json().await.unwrap()["replica"].as_u64().unwrap()
}

#[tokio::test]
async fn every_request_goes_to_the_next_target_that_lives() {
    let mut replicas = vec![replica(0).await, replica(1).await, replica(2).await];
    let (_balancer, url) = before(replicas.iter().map(RawServer::address).collect()).await;
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(asked(&url).await);
    }
    assert_eq!(seen, [0, 1, 2, 0, 1, 2]);
    assert_eq!(&*replicas[0].requests()[0].target, "/mcp/x?y=1");
    replicas.remove(1).stop().await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(asked(&url).await);
    }
    assert_eq!(seen, [0, 2, 2]);
}

#[tokio::test]
async fn streams_flow_and_a_hang_up_is_passed_on() {
    let (push, feed) = feed();
    let server = RawServer::start(move |_| Script::sse().follow(&feed))
        .await
        .unwrap();
    let (_balancer, url) = before(vec![server.address()]).await;
    let mut stream = http::get(&url).unwrap().send().await.unwrap();
    push.event("one").unwrap();
    assert_eq!(stream.event().await.unwrap().unwrap().data, "one");
    drop(stream);
    server.hung_up(0).await.unwrap();
}
