//! One client on standard input and output, as desktop hosts start servers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::sync::mpsc;

use super::line::Line;
use crate::gateway::Gateway;
use crate::identify::Caller;

/// The longest line of a client, in bytes.
const LINE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Messages waiting to be written.
const OUT_MAX: usize = 256;

/// How long calls may take to finish once the input has ended.
const FINISH_WAIT: Duration = Duration::from_secs(10);

/// Serves one toolset to one client until its input ends; calls under way may finish.
///
/// # Errors
/// When reading or writing fails, or a line is longer than 8 MiB.
pub async fn serve_stdio(
    gateway: Arc<Gateway>,
    path: &str,
    input: impl AsyncRead + Unpin + Send,
    output: impl AsyncWrite + Unpin + Send,
) -> std::io::Result<()> {
    serve_stdio_until(
        gateway,
        path,
        input,
        output,
        std::future::pending(),
        FINISH_WAIT,
    )
    .await
}

/// As [`serve_stdio`], or until `stop`; calls may then take up to `limit` to finish.
///
/// # Errors
/// As [`serve_stdio`].
pub async fn serve_stdio_until(
    gateway: Arc<Gateway>,
    path: &str,
    input: impl AsyncRead + Unpin + Send,
    output: impl AsyncWrite + Unpin + Send,
    stop: impl Future<Output = ()> + Send,
    limit: Duration,
) -> std::io::Result<()> {
    let (sender, out) = mpsc::channel::<Bytes>(OUT_MAX);
    let line = Line::new(gateway, Caller::Anonymous, path.into(), sender);
    // Reading and writing go on side by side: a client that reads slowly holds up nobody but itself.
    let writing = write_all(output, out);
    let reading = async move {
        let outcome = tokio::select! {
            outcome = read_all(&line, input) => outcome,
            () = stop => Ok(()),
        };
        line.finish(limit).await;
        line.end().await;
        outcome
    };
    tokio::pin!(reading, writing);
    tokio::select! {
        // The line is gone with `reading`; what is queued is still written.
        outcome = &mut reading => writing.await.and(outcome),
        written = &mut writing => written,
    }
}

async fn read_all(line: &Arc<Line>, input: impl AsyncRead + Unpin + Send) -> std::io::Result<()> {
    let mut input = BufReader::new(input);
    let mut text = Vec::new();
    while read_line(&mut input, &mut text).await? {
        let bytes = Bytes::from(std::mem::take(&mut text));
        if !bytes.trim_ascii().is_empty() {
            line.take(bytes).await;
        }
    }
    Ok(())
}

async fn write_all(
    mut output: impl AsyncWrite + Unpin + Send,
    mut out: mpsc::Receiver<Bytes>,
) -> std::io::Result<()> {
    while let Some(message) = out.recv().await {
        write(&mut output, message).await?;
    }
    Ok(())
}

/// Reads on into `text`; says whether a line came. What was read stays in `text` when the future is dropped.
async fn read_line(
    input: &mut (impl AsyncBufReadExt + Unpin),
    text: &mut Vec<u8>,
) -> std::io::Result<bool> {
    let room = LINE_BYTES_MAX.saturating_sub(u64::try_from(text.len()).unwrap_or(u64::MAX));
    let read = input.take(room).read_until(b'\n', text).await?;
    if text.ends_with(b"\n") {
        text.pop();
        return Ok(true);
    }
    if room == 0 || (read > 0 && u64::try_from(text.len()).unwrap_or(u64::MAX) >= LINE_BYTES_MAX) {
        let reason = format!("a line is longer than {LINE_BYTES_MAX} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, reason));
    }
    // The end of the input may close the last line.
    Ok(!text.is_empty())
}

/// Messages are lines: raw line breaks between JSON tokens become spaces (basic/transports, "stdio").
async fn write(output: &mut (impl AsyncWrite + Unpin), message: Bytes) -> std::io::Result<()> {
    let mut text = message.to_vec();
    for byte in text.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    text.push(b'\n');
    output.write_all(&text).await?;
    output.flush().await
}
