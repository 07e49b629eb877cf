//! Listening.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use transport::Body;
use transport::inbound::{self, Limits, ListenError, ListenSpec, ReadError, read_body};

use crate::fixture::{
    endless, post, raw, read_to_end, read_until, serve, soon, target, text, write,
};

const HEAD: &str = "GET /x HTTP/1.1\r\nhost: a\r\n\r\n";

fn limits() -> Limits {
    Limits::default()
}

/// A value that a handler takes once.
fn once<T: Send + 'static>(value: T) -> Arc<Mutex<Option<T>>> {
    Arc::new(Mutex::new(Some(value)))
}

#[tokio::test]
async fn request_and_answer_go_round() {
    let served = serve(limits(), None, |request, peer| async move {
        assert_eq!((peer.listener, peer.tls), (7, false));
        assert_eq!(peer.local.ip(), peer.address.ip());
        let path = request.uri().to_string();
        let body = read_body(request.into_body(), 100, Duration::from_secs(5))
            .await
            .unwrap();
        Response::new(Body::full([path.as_bytes(), b" ", &body].concat()))
    })
    .await;
    let target = target(&served.url());
    for body in ["one", ""] {
        let answer = soon(target.send(post(body))).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let read = soon(answer.into_body().collect(100)).await.unwrap();
        assert_eq!(read, format!("/mcp?a=b {body}"));
    }
}

#[tokio::test]
async fn slow_head_is_cut_off() {
    let limits = Limits {
        header_read: Duration::from_millis(150),
        ..limits()
    };
    let served = serve(limits, None, |_, _| async { text("ok") }).await;
    for beginning in ["", "GET /x HTTP/1.1\r\nhost"] {
        let mut client = raw(served.address).await;
        write(&mut client, beginning).await;
        assert_eq!(read_to_end(&mut client).await, "", "{beginning:?}");
    }
    // The second request of a connection has the same limit.
    let mut client = raw(served.address).await;
    write(&mut client, HEAD).await;
    read_until(&mut client, "\r\n\r\nok").await;
    write(&mut client, "GET /x HT").await;
    assert_eq!(read_to_end(&mut client).await, "");
}

#[tokio::test]
async fn slow_head_that_drips_is_cut_off() {
    let limits = Limits {
        header_read: Duration::from_millis(200),
        ..limits()
    };
    let served = serve(limits, None, |_, _| async { text("ok") }).await;
    let mut client = raw(served.address).await;
    let mut drip = tokio::time::interval(Duration::from_millis(20));
    let dripping = async {
        while client.write_all(b"G").await.is_ok() {
            drip.tick().await;
        }
    };
    soon(dripping).await;
}

#[tokio::test]
async fn resting_connection_is_closed_and_busy_one_is_not() {
    let limits = Limits {
        keep_alive_idle: Duration::from_millis(100),
        ..limits()
    };
    let served = serve(limits, None, |_, _| async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        text("late")
    })
    .await;
    let mut client = raw(served.address).await;
    write(&mut client, HEAD).await;
    let answer = read_to_end(&mut client).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("late"),
        "{answer}"
    );
}

#[tokio::test]
async fn large_heads_are_refused() {
    let limits = Limits {
        header_bytes: 2000,
        header_count: 10,
        ..limits()
    };
    let served = serve(limits, None, |_, _| async { text("ok") }).await;
    let large = format!("x: {}\r\n", "a".repeat(3000));
    let many = "x: 1\r\n".repeat(11);
    let few = "x: 1\r\n".repeat(9);
    for (fields, status) in [(large, "431"), (many, "431"), (few, "200")] {
        let mut client = raw(served.address).await;
        write(
            &mut client,
            &format!("GET /x HTTP/1.1\r\nhost: a\r\n{fields}\r\n"),
        )
        .await;
        let answer = read_until(&mut client, "\r\n\r\n").await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn bodies_are_bounded_in_size_and_time() {
    let served = serve(limits(), None, |request, _| async {
        let wait = Duration::from_millis(150);
        match read_body(request.into_body(), 10, wait).await {
            Ok(body) => Response::new(Body::full(body)),
            Err(ReadError::TooLarge { .. }) => text("too large"),
            Err(ReadError::TooSlow { .. }) => text("too slow"),
            Err(ReadError::Broken(_)) => text("broken"),
        }
    })
    .await;
    let cases = [
        ("content-length: 10\r\n\r\n0123456789", "0123456789"),
        ("content-length: 11\r\n\r\n", "too large"),
        (
            "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            "abcde",
        ),
        (
            "transfer-encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\nabcdef\r\n",
            "too large",
        ),
        (
            "transfer-encoding: chunked\r\n\r\nb\r\nabcdefghijk\r\n0\r\n\r\n",
            "too large",
        ),
        ("transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", "too slow"),
        ("content-length: 5\r\n\r\n", "too slow"),
        ("transfer-encoding: chunked\r\n\r\nxyz\r\n", "broken"),
    ];
    for (rest, expected) in cases {
        let mut client = raw(served.address).await;
        write(
            &mut client,
            &format!("POST /x HTTP/1.1\r\nhost: a\r\n{rest}"),
        )
        .await;
        let answer = read_until(&mut client, expected).await;
        assert!(answer.ends_with(expected), "{rest:?}: {answer}");
    }
}

#[tokio::test]
async fn handler_is_dropped_when_the_client_hangs_up() {
    for body in ["", "abc"] {
        let (began, has_begun) = oneshot::channel::<()>();
        let (guard, dropped) = oneshot::channel::<()>();
        let parts = once((began, guard));
        let served = serve(limits(), None, move |request, _| {
            let (began, guard) = parts.lock().unwrap().take().unwrap();
            async move {
                let _keep = guard;
                read_body(request.into_body(), 10, Duration::from_secs(5))
                    .await
                    .unwrap();
                began.send(()).unwrap();
                std::future::pending().await
            }
        })
        .await;
        let mut client = raw(served.address).await;
        let head = format!(
            "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        write(&mut client, &head).await;
        soon(has_begun).await.unwrap();
        drop(client);
        assert!(
            soon(dropped).await.is_err(),
            "the guard was dropped, not used"
        );
    }
}

#[tokio::test]
async fn body_is_dropped_when_the_client_hangs_up() {
    let (guard, dropped) = oneshot::channel();
    let guard = once(guard);
    let served = serve(limits(), None, move |_, _| {
        let guard = guard.lock().unwrap().take().unwrap();
        async move { Response::new(endless(guard)) }
    })
    .await;
    let mut client = raw(served.address).await;
    write(&mut client, HEAD).await;
    read_until(&mut client, "first").await;
    drop(client);
    assert!(soon(dropped).await.is_err());
}

#[tokio::test]
async fn client_that_takes_no_bytes_is_cut_off() {
    let limits = Limits {
        write_stall: Duration::from_millis(200),
        ..limits()
    };
    let (guard, dropped) = oneshot::channel::<()>();
    let guard = once(guard);
    let served = serve(limits, None, move |_, _| {
        let guard = guard.lock().unwrap().take().unwrap();
        let chunk = Bytes::from(vec![b'x'; 1 << 20]);
        async move {
            Response::new(Body::stream(futures_util::stream::poll_fn(move |_| {
                let _keep = &guard;
                std::task::Poll::Ready(Some(Ok(chunk.clone())))
            })))
        }
    })
    .await;
    let mut client = raw(served.address).await;
    write(&mut client, HEAD).await;
    assert!(soon(dropped).await.is_err());
}

#[tokio::test]
async fn failing_body_cuts_the_answer() {
    let served = serve(limits(), None, |_, _| async {
        Response::new(Body::stream(futures_util::stream::iter([
            Ok(Bytes::from_static(b"some")),
            Err(transport::BodyError::new("gone")),
        ])))
    })
    .await;
    let mut client = raw(served.address).await;
    write(&mut client, HEAD).await;
    let answer = read_to_end(&mut client).await;
    assert!(
        !answer.ends_with("0\r\n\r\n"),
        "an answer that broke off must not look whole: {answer}"
    );
}

#[tokio::test]
async fn panic_ends_one_connection_only() {
    let served = serve(limits(), None, |request, _| async move {
        assert_ne!(request.uri().path(), "/x", "on purpose");
        text("alive")
    })
    .await;
    let mut client = raw(served.address).await;
    write(&mut client, HEAD).await;
    assert_eq!(read_to_end(&mut client).await, "");
    let answer = soon(target(&served.url()).send(post(""))).await.unwrap();
    assert_eq!(
        soon(answer.into_body().collect(100)).await.unwrap(),
        "alive"
    );
}

#[tokio::test]
async fn surplus_connections_wait() {
    let limits = Limits {
        connections_max: 1,
        ..limits()
    };
    let served = serve(limits, None, |_, _| async { text("ok") }).await;
    let mut first = raw(served.address).await;
    write(&mut first, HEAD).await;
    read_until(&mut first, "\r\n\r\nok").await;
    let mut second = raw(served.address).await;
    write(&mut second, HEAD).await;
    let too_early = tokio::time::timeout(Duration::from_millis(100), read_until(&mut second, "ok"));
    assert!(too_early.await.is_err());
    drop(first);
    assert!(
        read_until(&mut second, "\r\n\r\nok")
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn drain_closes_what_rests_and_waits_for_what_runs() {
    let (go, gone) = oneshot::channel::<()>();
    let (began, has_begun) = oneshot::channel::<()>();
    let parts = once((began, gone));
    let mut served = serve(limits(), None, move |request, _| {
        let parts =
            (request.uri().path() == "/slow").then(|| parts.lock().unwrap().take().unwrap());
        async move {
            if let Some((began, gone)) = parts {
                began.send(()).unwrap();
                gone.await.unwrap();
            }
            text("done")
        }
    })
    .await;
    let mut resting = raw(served.address).await;
    write(&mut resting, HEAD).await;
    read_until(&mut resting, "done").await;
    let mut busy = raw(served.address).await;
    write(&mut busy, "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    soon(has_begun).await.unwrap();

    let trigger = served.trigger.take().unwrap();
    let mut draining = tokio::task::JoinSet::new();
    draining.spawn(trigger.drain(Duration::from_secs(15)));
    assert_eq!(read_to_end(&mut resting).await, "");
    go.send(()).unwrap();
    let answer = read_to_end(&mut busy).await;
    assert!(
        answer.contains("connection: close") && answer.ends_with("done"),
        "{answer}"
    );
    assert!(
        soon(draining.join_next()).await.unwrap().unwrap(),
        "nothing was cut"
    );
    soon(served.serving.join_next()).await.unwrap().unwrap();
}

#[tokio::test]
async fn drain_cuts_at_its_limit() {
    let (guard, dropped) = oneshot::channel();
    let guard = once(guard);
    let mut served = serve(limits(), None, move |_, _| {
        let guard = guard.lock().unwrap().take().unwrap();
        async move { Response::new(endless(guard)) }
    })
    .await;
    let mut client = raw(served.address).await;
    write(&mut client, HEAD).await;
    read_until(&mut client, "first").await;
    let trigger = served.trigger.take().unwrap();
    assert!(
        !soon(trigger.drain(Duration::from_millis(100))).await,
        "something was cut"
    );
    assert!(soon(dropped).await.is_err());
    read_to_end(&mut client).await;
}

#[tokio::test]
async fn taken_port_is_explained() {
    let served = serve(limits(), None, |_, _| async { text("ok") }).await;
    let spec = ListenSpec {
        address: served.address,
        tls: None,
        listener: 0,
    };
    let error = inbound::bind(&spec).await.unwrap_err();
    assert!(matches!(error, ListenError::InUse { .. }));
    let told = error.to_string();
    assert!(
        told.contains(&served.address.to_string()) && told.contains("choose another port"),
        "{told}"
    );
    if cfg!(target_os = "linux") {
        assert!(
            told.contains(&format!("(process {})", std::process::id())),
            "{told}"
        );
    }
}

#[tokio::test]
async fn foreign_address_is_explained() {
    let spec = ListenSpec {
        address: ([203, 0, 113, 1], 0).into(),
        tls: None,
        listener: 0,
    };
    let error = inbound::bind(&spec).await.unwrap_err();
    assert!(matches!(error, ListenError::NotOurs { .. }), "{error}");
}
