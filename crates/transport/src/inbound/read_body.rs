//! A request's body, whole, within a size and a time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// Space taken before the bytes are here, however large the client says the body will be.
const RESERVE_BYTES_MAX: usize = 64 * 1024;

/// Why a request's body is not here. The caller of the request must act.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The body is, or says it will be, larger than allowed.
    #[error("request body is larger than {bytes_max} bytes")]
    TooLarge {
        /// What is allowed.
        bytes_max: usize,
    },
    /// The body did not come in time.
    #[error("request body did not arrive within {wait:?}")]
    TooSlow {
        /// What is allowed.
        wait: Duration,
    },
    /// The client broke off, or what it sent is not a body.
    #[error("request body broke off: {0}")]
    Broken(String),
}

/// Reads a request's body.
///
/// # Errors
/// The body is too large, too slow, or breaks off.
pub async fn read_body(
    body: Incoming,
    bytes_max: usize,
    wait: Duration,
) -> Result<Bytes, ReadError> {
    // A client that says how much it will send is refused before it sends it.
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(ReadError::TooLarge { bytes_max });
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    // A small body came with its head: then no timer is registered.
    tokio::time::timeout(wait, collect(body, bytes_max))
        .await
        .unwrap_or(Err(ReadError::TooSlow { wait }))
}

async fn collect(mut body: Incoming, bytes_max: usize) -> Result<Bytes, ReadError> {
    let Some(first) = next(&mut body).await? else {
        return Ok(Bytes::new());
    };
    if first.len() > bytes_max {
        return Err(ReadError::TooLarge { bytes_max });
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    let Some(second) = next(&mut body).await? else {
        return Ok(first);
    };
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(RESERVE_BYTES_MAX);
    let mut whole =
        BytesMut::with_capacity(first.len() + second.len() + expected.min(RESERVE_BYTES_MAX));
    whole.extend_from_slice(&first);
    let mut chunk = Some(second);
    while let Some(bytes) = chunk {
        if whole.len() + bytes.len() > bytes_max {
            return Err(ReadError::TooLarge { bytes_max });
        }
        whole.extend_from_slice(&bytes);
        chunk = next(&mut body).await?;
    }
    Ok(whole.freeze())
}

/// The next bytes; trailers are passed over.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, ReadError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ReadError::Broken(error.to_string()))?;
        if let Ok(bytes) = frame.into_data()
            && !bytes.is_empty()
        {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}
