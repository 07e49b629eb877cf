//! TLS and HTTP/2, both doors together.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Response, Version};
use tokio::sync::oneshot;
use transport::inbound::{Limits, read_body};
use transport::outbound::{Awaited, Failure, TargetLimits, Waits};
use transport::{Body, TlsError, Trust};

use crate::fixture::{
    certify, endless, post, raw, read_to_end, scripted, serve, soon, target_with, text, write,
};

fn target(url: &str, trust: &Trust) -> transport::outbound::Target {
    target_with(url, trust, Waits::default(), TargetLimits::default())
}

#[tokio::test]
async fn both_doors_agree_on_http2() {
    let certified = certify();
    let served = serve(
        Limits::default(),
        Some(certified.identity),
        |request, peer| async move {
            assert!(peer.tls);
            assert_eq!(request.version(), Version::HTTP_2);
            assert_eq!(request.uri().path(), "/mcp");
            let authority = request.uri().authority().unwrap().to_string();
            assert!(authority.starts_with("localhost:"), "{authority}");
            let body = read_body(request.into_body(), 1 << 20, Duration::from_secs(5))
                .await
                .unwrap();
            // So that the calls of one connection can only be answered in turn if they share it.
            Response::new(Body::full(
                [peer.address.port().to_string().as_bytes(), b" ", &body].concat(),
            ))
        },
    )
    .await;
    let target = target(&served.secure_url(), &certified.trust);
    let calls = (0..20).map(|_| async {
        let answer = soon(target.send(post("hello"))).await.unwrap();
        assert_eq!(answer.version(), Version::HTTP_2);
        soon(answer.into_body().collect(100)).await.unwrap()
    });
    let answers = futures_util::future::join_all(calls).await;
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "one connection for all: {answers:?}"
    );
    assert!(answers[0].ends_with(b" hello"));
}

#[tokio::test]
async fn dropped_http2_call_drops_the_handler() {
    let certified = certify();
    let (began, has_begun) = oneshot::channel::<()>();
    let (guard, dropped) = oneshot::channel::<()>();
    let (body_guard, body_dropped) = oneshot::channel();
    let parts = Arc::new(Mutex::new((Some((began, guard)), Some(body_guard))));
    let served = serve(Limits::default(), Some(certified.identity), move |_, _| {
        let mut parts = parts.lock().unwrap();
        let first = parts.0.take();
        let body_guard = if first.is_none() {
            parts.1.take()
        } else {
            None
        };
        async move {
            if let Some((began, guard)) = first {
                let _keep = guard;
                began.send(()).unwrap();
                std::future::pending::<()>().await;
            }
            body_guard.map_or_else(|| text("alive"), |guard| Response::new(endless(guard)))
        }
    })
    .await;
    let target = target(&served.secure_url(), &certified.trust);
    tokio::select! {
        _ = target.send(post("")) => panic!("there is no answer"),
        begun = has_begun => begun.unwrap(),
    }
    assert!(soon(dropped).await.is_err());
    let mut body = soon(target.send(post(""))).await.unwrap().into_body();
    assert_eq!(soon(body.chunk()).await.unwrap().unwrap(), "first");
    drop(body);
    assert!(soon(body_dropped).await.is_err());
    let answer = soon(target.send(post(""))).await.unwrap();
    assert_eq!(
        soon(answer.into_body().collect(100)).await.unwrap(),
        "alive"
    );
}

#[tokio::test]
async fn lost_http2_connection_is_opened_again() {
    let certified = certify();
    let limits = Limits {
        keep_alive_idle: Duration::from_millis(50),
        ..Limits::default()
    };
    let served = serve(limits, Some(certified.identity), |_, peer| async move {
        Response::new(Body::full(peer.address.port().to_string()))
    })
    .await;
    let target = target(&served.secure_url(), &certified.trust);
    let mut ports = Vec::new();
    let changed = async {
        while ports.len() < 2 {
            let answer = target.send(post("")).await.unwrap();
            let port = answer.into_body().collect(100).await.unwrap();
            if !ports.contains(&port) {
                ports.push(port);
            }
            tokio::time::sleep(Duration::from_millis(120)).await;
        }
    };
    soon(changed).await;
}

#[tokio::test]
async fn http2_waits_are_kept() {
    let certified = certify();
    let (guard, _dropped) = oneshot::channel();
    let guard = Arc::new(Mutex::new(Some(guard)));
    let served = serve(
        Limits::default(),
        Some(certified.identity),
        move |request, _| {
            let guard = guard.lock().unwrap().take();
            async move {
                match guard {
                    Some(guard) if request.uri().path() == "/mcp" => Response::new(endless(guard)),
                    _ => std::future::pending().await,
                }
            }
        },
    )
    .await;
    let wait = Duration::from_millis(100);
    let waits = Waits {
        first_byte: Duration::from_secs(5),
        idle: Some(wait),
        ..Waits::default()
    };
    let target = target_with(
        &served.secure_url(),
        &certified.trust,
        waits,
        TargetLimits::default(),
    );
    let answer = soon(target.send(post(""))).await.unwrap();
    let failure = soon(answer.into_body().collect(100)).await.unwrap_err();
    let expected = Awaited::Idle;
    assert!(
        matches!(failure, Failure::Timeout { awaited, .. } if awaited == expected),
        "{failure}"
    );
    let hasty = Waits {
        first_byte: wait,
        ..waits
    };
    let failure = soon(target.send_with(post(""), hasty)).await.unwrap_err();
    let expected = Awaited::FirstByte;
    assert!(
        matches!(failure, Failure::Timeout { awaited, .. } if awaited == expected),
        "{failure}"
    );
}

#[tokio::test]
async fn drain_ends_http2_connections() {
    let certified = certify();
    let mut served = serve(Limits::default(), Some(certified.identity), |_, _| async {
        text("ok")
    })
    .await;
    let target = target(&served.secure_url(), &certified.trust);
    soon(target.send(post(""))).await.unwrap();
    let trigger = served.trigger.take().unwrap();
    assert!(
        soon(trigger.drain(Duration::from_secs(15))).await,
        "nothing was cut"
    );
    let failure = soon(target.send(post(""))).await.unwrap_err();
    assert!(!failure.may_have_reached_server(), "{failure}");
}

#[tokio::test]
async fn unknown_authority_is_not_trusted() {
    let certified = certify();
    let served = serve(Limits::default(), Some(certified.identity), |_, _| async {
        text("ok")
    })
    .await;
    let others = certify().trust;
    let failure = soon(target(&served.secure_url(), &others).send(post("")))
        .await
        .unwrap_err();
    assert!(matches!(failure, Failure::Tls { .. }), "{failure}");
    assert!(!failure.may_have_reached_server());
}

#[tokio::test]
async fn certificate_for_another_name_is_not_trusted() {
    let certified = certify();
    let served = serve(Limits::default(), Some(certified.identity), |_, _| async {
        text("ok")
    })
    .await;
    let url = format!("https://[::ffff:127.0.0.1]:{}", served.address.port());
    let failure = soon(target(&url, &certified.trust).send(post("")))
        .await
        .unwrap_err();
    assert!(matches!(failure, Failure::Tls { .. }), "{failure}");
}

#[tokio::test]
async fn server_that_speaks_no_tls_is_told() {
    let server = scripted(|mut stream, _| async move {
        write(&mut stream, "HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let url = format!("https://127.0.0.1:{}", server.address.port());
    let failure = soon(target(&url, &certify().trust).send(post("")))
        .await
        .unwrap_err();
    assert!(
        matches!(failure, Failure::Tls { .. } | Failure::Connect { .. }),
        "{failure}"
    );
}

#[tokio::test]
async fn silent_handshakes_end_on_both_sides() {
    let server = scripted(|mut stream, _| async move {
        read_to_end(&mut stream).await;
    })
    .await;
    let url = format!("https://127.0.0.1:{}", server.address.port());
    let waits = Waits {
        connect: Duration::from_millis(100),
        ..Waits::default()
    };
    let certified = certify();
    let target = target_with(&url, &certified.trust, waits, TargetLimits::default());
    let failure = soon(target.send(post(""))).await.unwrap_err();
    let expected = Awaited::Connect;
    assert!(
        matches!(failure, Failure::Timeout { awaited, .. } if awaited == expected),
        "{failure}"
    );
    assert!(!failure.may_have_reached_server());

    let limits = Limits {
        tls_handshake: Duration::from_millis(100),
        ..Limits::default()
    };
    let served = serve(limits, Some(certified.identity), |_, _| async {
        text("ok")
    })
    .await;
    let mut client = raw(served.address).await;
    assert_eq!(read_to_end(&mut client).await, "");
}

#[tokio::test]
async fn http1_is_served_over_tls() {
    let certified = certify();
    let served = serve(
        Limits::default(),
        Some(certified.identity.clone()),
        |request, peer| async move {
            assert!(peer.tls);
            assert_eq!(request.version(), Version::HTTP_11);
            text("plain old")
        },
    )
    .await;
    let Trust::Certificates(authorities) = certified.trust else {
        panic!("made so");
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authorities[0].clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = raw(served.address).await;
    let name = "localhost".try_into().unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let mut stream = connector.connect(name, stream).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request)
        .await
        .unwrap();
    let mut answer = String::new();
    soon(tokio::io::AsyncReadExt::read_to_string(
        &mut stream,
        &mut answer,
    ))
    .await
    .unwrap();
    assert!(answer.ends_with("plain old"), "{answer}");
}

#[test]
fn identities_are_checked() {
    let (one, other) = (certify(), certify());
    let wrong = transport::identity(one.certificate_pem.as_bytes(), other.key_pem.as_bytes());
    assert!(matches!(wrong, Err(TlsError::Mismatch(_))));
    let none = transport::identity(one.certificate_pem.as_bytes(), b"");
    assert!(matches!(none, Err(TlsError::NoKey)));
    let none = transport::identity(b"", one.key_pem.as_bytes());
    assert!(matches!(none, Err(TlsError::NoCertificate)));
}
