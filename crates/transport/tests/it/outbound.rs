//! Calling out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use transport::inbound::Limits;
use transport::outbound::{Awaited, Failure, Target, TargetError, TargetLimits, Waits};
use transport::{Body, Trust};

use crate::fixture::{
    Scripted, post, read_until, scripted, serve, soon, target, target_with, write,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// The end of every request `post("ping")` sends.
const PING: &str = "\r\n\r\nping";

/// Answers every request of every connection the same way, until the client hangs up.
async fn answers(answer: &'static str) -> Scripted {
    scripted(move |mut stream, _| async move {
        while read_until(&mut stream, PING).await.ends_with("ping") {
            write(&mut stream, answer).await;
        }
    })
    .await
}

async fn call(target: &Target) -> Result<Bytes, Failure> {
    let answer = soon(target.send(post("ping"))).await?;
    soon(answer.into_body().collect(1000)).await
}

#[tokio::test]
async fn one_connection_serves_call_after_call() {
    for answer in [
        OK,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let server = answers(answer).await;
        let target = target(&server.url());
        for _ in 0..5 {
            assert_eq!(call(&target).await.unwrap(), "ok");
        }
        assert_eq!(server.connections(), 1, "{answer}");
    }
}

#[tokio::test]
async fn answer_without_body_frees_its_connection() {
    let server = answers("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await;
    let target = target(&server.url());
    for _ in 0..3 {
        let answer = soon(target.send(post("ping"))).await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        assert!(http_body::Body::is_end_stream(answer.body()));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn host_and_length_are_ours() {
    let (heads, mut seen) = mpsc::channel(4);
    let server = scripted(move |mut stream, _| {
        let heads = heads.clone();
        async move {
            let head = read_until(&mut stream, "\r\n\r\n").await;
            heads.send(head).await.unwrap();
            write(
                &mut stream,
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            )
            .await;
        }
    })
    .await;
    let target = target(&server.url());
    let mut request = post("");
    request
        .headers_mut()
        .insert("host", "evil".parse().unwrap());
    request
        .headers_mut()
        .insert("content-length", "77".parse().unwrap());
    request
        .headers_mut()
        .insert("transfer-encoding", "chunked".parse().unwrap());
    soon(target.send(request)).await.unwrap();
    let head = soon(seen.recv()).await.unwrap();
    assert!(head.starts_with("POST /mcp?a=b HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains(&format!("host: {}\r\n", server.address)),
        "{head}"
    );
    assert!(head.contains("content-length: 0\r\n"), "{head}");
    assert!(
        !head.contains("evil") && !head.contains("chunked") && !head.contains(": 77"),
        "{head}"
    );
}

#[tokio::test]
async fn connection_closed_at_rest_is_replaced() {
    let (closed, mut closings) = mpsc::channel(4);
    let server = scripted(move |mut stream, _| {
        let closed = closed.clone();
        async move {
            read_until(&mut stream, PING).await;
            write(&mut stream, OK).await;
            drop(stream);
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let target = target(&server.url());
    for number in 1..=3 {
        assert_eq!(call(&target).await.unwrap(), "ok");
        soon(closings.recv()).await.unwrap();
        assert_eq!(server.connections(), number);
    }
}

#[tokio::test]
async fn request_that_was_sent_is_not_sent_again() {
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&requests);
    let server = scripted(move |mut stream, _| {
        let seen = Arc::clone(&seen);
        async move {
            // Good once per connection; the second request is read and never answered.
            read_until(&mut stream, PING).await;
            seen.fetch_add(1, Ordering::SeqCst);
            write(&mut stream, OK).await;
            if read_until(&mut stream, PING).await.ends_with("ping") {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let target = target(&server.url());
    call(&target).await.unwrap();
    let failure = call(&target).await.unwrap_err();
    assert!(
        matches!(failure, Failure::Closed { sent: true, .. }),
        "{failure}"
    );
    assert!(failure.may_have_reached_server());
    assert_eq!(requests.load(Ordering::SeqCst), 2);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn refused_connection_says_so() {
    let server = answers(OK).await;
    let (url, address) = (server.url(), server.address);
    drop(server);
    let target = target(&url);
    let failure = loop {
        // The listener's task may take a moment to go.
        match call(&target).await {
            Ok(_) | Err(Failure::Closed { .. } | Failure::Broken { .. }) => {}
            Err(failure) => break failure,
        }
    };
    assert!(matches!(failure, Failure::Connect { .. }), "{failure}");
    assert!(!failure.may_have_reached_server());
    assert!(
        failure.to_string().contains(&address.to_string()),
        "{failure}"
    );
}

#[tokio::test]
async fn unknown_name_says_so() {
    let failure = call(&target("http://no-such-host.invalid"))
        .await
        .unwrap_err();
    assert!(matches!(failure, Failure::Connect { .. }), "{failure}");
}

#[tokio::test]
async fn silent_server_times_out() {
    let server = scripted(|stream: TcpStream, number| async move {
        let mut stream = stream;
        read_until(&mut stream, PING).await;
        if number == 2 {
            write(
                &mut stream,
                "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
            )
            .await;
        }
        read_until(&mut stream, "never").await;
    })
    .await;
    let wait = Duration::from_millis(100);
    let waits = Waits {
        connect: Duration::from_secs(5),
        first_byte: wait,
        idle: Some(wait),
    };
    let target = target_with(
        &server.url(),
        &Trust::System,
        waits,
        TargetLimits::default(),
    );
    let failure = call(&target).await.unwrap_err();
    let expected = Awaited::FirstByte;
    assert!(
        matches!(failure, Failure::Timeout { awaited, .. } if awaited == expected),
        "{failure}"
    );
    assert!(failure.may_have_reached_server());
    let failure = call(&target).await.unwrap_err();
    let expected = Awaited::Idle;
    assert!(
        matches!(failure, Failure::Timeout { awaited, .. } if awaited == expected),
        "{failure}"
    );
}

#[tokio::test]
async fn stream_without_idle_wait_may_rest() {
    let server = scripted(|mut stream: TcpStream, _| async move {
        read_until(&mut stream, PING).await;
        write(
            &mut stream,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n",
        )
        .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        write(&mut stream, "1\r\nb\r\n0\r\n\r\n").await;
        read_until(&mut stream, "never").await;
    })
    .await;
    let waits = Waits {
        idle: Some(Duration::from_millis(50)),
        ..Waits::default()
    };
    let target = target_with(
        &server.url(),
        &Trust::System,
        waits,
        TargetLimits::default(),
    );
    let patient = Waits {
        idle: None,
        ..waits
    };
    let answer = soon(target.send_with(post("ping"), patient)).await.unwrap();
    let mut body = answer.into_body();
    assert_eq!(soon(body.chunk()).await.unwrap().unwrap(), "a");
    assert_eq!(soon(body.chunk()).await.unwrap().unwrap(), "b");
    assert!(soon(body.chunk()).await.is_none());
}

#[tokio::test]
async fn bad_answers_are_told_apart() {
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(3000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: 1\r\n".repeat(30));
    type IsExpected = fn(&Failure) -> bool;
    let cases: [(String, IsExpected); 7] = [
        (large, |failure| {
            matches!(failure, Failure::TooLarge { part: "head", .. })
        }),
        (many, |failure| {
            matches!(failure, Failure::TooLarge { part: "head", .. })
        }),
        ("SSH-2.0-x\r\n\r\n".into(), |failure| {
            matches!(failure, Failure::Invalid { .. })
        }),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".into(),
            |failure| matches!(failure, Failure::Broken { .. }),
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhal".into(),
            |failure| matches!(failure, Failure::Broken { .. }),
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n".into(),
            |failure| matches!(failure, Failure::TooLarge { part: "body", .. }),
        ),
        (
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n{}\r\n",
                "a".repeat(2000)
            ),
            |failure| matches!(failure, Failure::TooLarge { part: "body", .. }),
        ),
    ];
    for (answer, is_expected) in cases {
        let told: String = answer.chars().take(60).collect();
        let server = scripted(move |mut stream, _| {
            let answer = answer.clone();
            async move {
                read_until(&mut stream, PING).await;
                write(&mut stream, &answer).await;
            }
        })
        .await;
        let limits = TargetLimits {
            header_bytes: 2000,
            header_count: 20,
            ..TargetLimits::default()
        };
        let target = target_with(&server.url(), &Trust::System, Waits::default(), limits);
        let failure = call(&target).await.unwrap_err();
        assert!(is_expected(&failure), "{told:?}: {failure:?}");
    }
}

#[tokio::test]
async fn dropped_call_closes_its_connection() {
    let (ended, mut ends) = mpsc::channel(4);
    let server = scripted(move |mut stream, number| {
        let ended = ended.clone();
        async move {
            read_until(&mut stream, PING).await;
            if number > 1 {
                write(
                    &mut stream,
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n",
                )
                .await;
            }
            ended.send(number).await.unwrap();
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).await.unwrap(), 0);
            ended.send(number).await.unwrap();
        }
    })
    .await;
    let target = target(&server.url());
    // Before the head of the answer.
    tokio::select! {
        _ = target.send(post("ping")) => panic!("there is no answer"),
        _ = ends.recv() => {}
    }
    assert_eq!(soon(ends.recv()).await, Some(1));
    // In the middle of the body.
    let mut body = soon(target.send(post("ping"))).await.unwrap().into_body();
    assert_eq!(soon(body.chunk()).await.unwrap().unwrap(), "a");
    drop(body);
    assert_eq!(soon(ends.recv()).await, Some(2));
    assert_eq!(soon(ends.recv()).await, Some(2));
}

#[tokio::test]
async fn calls_beyond_the_limit_wait_and_then_fail() {
    let server = answers(OK).await;
    let limits = TargetLimits {
        calls_max: 1,
        call_wait: Duration::from_millis(100),
        ..TargetLimits::default()
    };
    let target = target_with(
        &server.url(),
        &Trust::System,
        Waits::default(),
        limits.clone(),
    );
    let first = soon(target.send(post("ping"))).await.unwrap();
    let failure = call(&target).await.unwrap_err();
    assert!(
        matches!(failure, Failure::Busy { calls_max: 1, .. }),
        "{failure}"
    );
    assert!(!failure.may_have_reached_server());
    drop(first);
    call(&target).await.unwrap();

    let patient = TargetLimits {
        call_wait: Duration::from_secs(20),
        ..limits
    };
    let target = target_with(&server.url(), &Trust::System, Waits::default(), patient);
    let calls = (0..20).map(|_| call(&target));
    for done in futures_util::future::join_all(calls).await {
        done.unwrap();
    }
}

#[tokio::test]
async fn open_streams_take_no_place_among_the_calls() {
    let server = answers(OK).await;
    let limits = TargetLimits {
        calls_max: 1,
        streams_max: 2,
        call_wait: Duration::from_millis(100),
        ..TargetLimits::default()
    };
    let target = target_with(&server.url(), &Trust::System, Waits::default(), limits);
    let one = soon(target.open_stream(post("ping"))).await.unwrap();
    let _other = soon(target.open_stream(post("ping"))).await.unwrap();
    call(&target).await.unwrap();
    let failure = soon(target.open_stream(post("ping"))).await.unwrap_err();
    assert!(
        matches!(failure, Failure::Busy { calls_max: 2, .. })
            && failure.to_string().contains("streams"),
        "{failure}"
    );
    drop(one);
    soon(target.open_stream(post("ping"))).await.unwrap();
    call(&target).await.unwrap();
}

#[tokio::test]
async fn many_calls_at_once_share_few_connections() {
    let server = answers(OK).await;
    let limits = TargetLimits {
        calls_max: 4,
        idle_max: 2,
        ..TargetLimits::default()
    };
    let target = target_with(&server.url(), &Trust::System, Waits::default(), limits);
    for done in futures_util::future::join_all((0..4).map(|_| call(&target))).await {
        done.unwrap();
    }
    let after = server.connections();
    assert!(after <= 4, "{after}");
    for _ in 0..5 {
        call(&target).await.unwrap();
    }
    assert_eq!(
        server.connections(),
        after,
        "the connections at rest are used"
    );
}

#[tokio::test]
async fn connection_that_rested_too_long_is_not_used() {
    let aged = TargetLimits {
        idle_age: Duration::ZERO,
        ..TargetLimits::default()
    };
    let server = answers(OK).await;
    let target = target_with(&server.url(), &Trust::System, Waits::default(), aged);
    for number in 1..=3 {
        call(&target).await.unwrap();
        assert_eq!(server.connections(), number);
    }
    // A server that says it closes soon counts too.
    let server =
        answers("HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 2\r\n\r\nok").await;
    let target = self::target(&server.url());
    for number in 1..=3 {
        call(&target).await.unwrap();
        assert_eq!(server.connections(), number);
    }
}

#[tokio::test]
async fn connections_at_rest_are_swept() {
    let (ended, mut ends) = mpsc::channel(1);
    let server = scripted(move |mut stream, _| {
        let ended = ended.clone();
        async move {
            read_until(&mut stream, PING).await;
            write(&mut stream, OK).await;
            read_until(&mut stream, "never").await;
            ended.send(()).await.unwrap();
        }
    })
    .await;
    let limits = TargetLimits {
        idle_age: Duration::from_millis(50),
        ..TargetLimits::default()
    };
    let target = target_with(&server.url(), &Trust::System, Waits::default(), limits);
    call(&target).await.unwrap();
    soon(ends.recv()).await.unwrap();
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = answers("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
    let answer = soon(target(&server.url()).send(post("ping")))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
}

#[tokio::test]
async fn large_answers_come_whole() {
    let size = 3 * 1024 * 1024;
    let server = scripted(move |mut stream, _| async move {
        while read_until(&mut stream, PING).await.ends_with("ping") {
            write(
                &mut stream,
                &format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n"),
            )
            .await;
            write(&mut stream, &"z".repeat(size)).await;
        }
    })
    .await;
    let target = target(&server.url());
    for _ in 0..2 {
        let answer = soon(target.send(post("ping"))).await.unwrap();
        assert_eq!(
            soon(answer.into_body().collect(size)).await.unwrap().len(),
            size
        );
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn forwarded_answer_breaks_where_the_servers_broke() {
    for (answer, is_whole) in [
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n0\r\n\r\n",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n",
            false,
        ),
    ] {
        let server = scripted(move |mut stream, _| async move {
            read_until(&mut stream, PING).await;
            write(&mut stream, answer).await;
        })
        .await;
        let upstream = Arc::new(target(&server.url()));
        let served = serve(Limits::default(), None, move |_, _| {
            let upstream = Arc::clone(&upstream);
            async move {
                upstream
                    .send(post("ping"))
                    .await
                    .unwrap()
                    .map(Body::forward)
            }
        })
        .await;
        // It may break before its head has left.
        let read = match soon(target(&served.url()).send(post(""))).await {
            Ok(answer) => soon(answer.into_body().collect(100)).await,
            Err(failure) => Err(failure),
        };
        assert_eq!(read.is_ok(), is_whole, "{read:?}");
    }
}

#[test]
fn urls_that_cannot_be_called_are_refused() {
    let make = |url: &str| {
        let url = url.parse().unwrap();
        Target::new(
            &url,
            &Trust::System,
            Waits::default(),
            TargetLimits::default(),
        )
        .unwrap_err()
    };
    assert!(matches!(make("ftp://host/"), TargetError::Scheme { .. }));
    let error = make("http://user:secret@host/");
    assert!(matches!(error, TargetError::Credentials { .. }));
    assert!(!error.to_string().contains("secret"));
}

#[test]
fn calls_may_move_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    fn is_sync<T: Send + Sync>() {}
    is_sync::<Target>();
    let target = target("http://127.0.0.1:1");
    drop(is_send(target.send(post("ping"))));
}
