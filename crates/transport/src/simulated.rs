//! A network in memory, for simulations: names lead to doors, and connections are pairs of pipes.
//!
//! A test puts a [`Network`] in the place of the real one for its thread. Then every name that is called leads there,
//! and no socket is opened. Time is whatever the runtime says it is. Nothing that ships is built with this.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc;

/// Connections that wait to be accepted.
const BACKLOG: usize = 1024;

thread_local! {
    static CURRENT: RefCell<Option<Network>> = const { RefCell::new(None) };
}

/// What the network does to one connection.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// How long it takes to connect.
    pub connect: Duration,
    /// Bytes on the way in each direction; a writer waits for more to be read.
    pub buffer_bytes: usize,
}

/// A network of one thread: what is listening by which name.
#[derive(Clone)]
pub struct Network {
    doors: Rc<RefCell<HashMap<String, mpsc::Sender<Wire>>>>,
    weather: Rc<dyn Fn(&str) -> Weather>,
    open: Arc<AtomicUsize>,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Wire {
    stream: DuplexStream,
    _open: Open,
}

/// Counts the ends that are open.
#[derive(Debug)]
struct Open(Arc<AtomicUsize>);

/// Where the connections to one name arrive.
#[derive(Debug)]
pub struct Door(mpsc::Receiver<Wire>);

/// The network is that of this thread until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Installed(());

impl Network {
    /// A network without anybody; `weather` is asked for every connection, by the name it leads to.
    pub fn new(weather: impl Fn(&str) -> Weather + 'static) -> Self {
        Self {
            doors: Rc::default(),
            weather: Rc::new(weather),
            open: Arc::default(),
        }
    }

    /// Puts it in the place of the real network for this thread.
    pub fn install(&self) -> Installed {
        CURRENT.with_borrow_mut(|current| *current = Some(self.clone()));
        Installed(())
    }

    /// Connects to a name over the network of this thread, if there is one.
    pub(crate) fn call(
        name: &str,
    ) -> Option<impl Future<Output = io::Result<Wire>> + Send + use<>> {
        let network = CURRENT.with_borrow(Clone::clone)?;
        Some(network.connect(name))
    }

    /// Listens by a name; whoever did before hears nothing any more.
    pub fn listen(&self, name: &str) -> Door {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.doors.borrow_mut().insert(name.to_owned(), sender);
        Door(receiver)
    }

    /// Connects to a name. The future can be sent, because it holds nothing of the thread while it waits.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(&self, name: &str) -> impl Future<Output = io::Result<Wire>> + Send + use<> {
        let weather = (self.weather)(name);
        let (ours, theirs) = duplex(weather.buffer_bytes.max(1));
        let door = self.doors.borrow().get(name).cloned();
        let end = |stream| Wire {
            stream,
            _open: Open::new(&self.open),
        };
        let (ours, theirs) = (end(ours), end(theirs));
        async move {
            tokio::time::sleep(weather.connect).await;
            let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens");
            let door = door.ok_or_else(refused)?;
            door.try_send(theirs).map_err(|_| refused())?;
            Ok(ours)
        }
    }

    /// Ends of connections that are open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Network")
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| *current = None);
    }
}

impl Door {
    /// The next connection; none when somebody else listens by the name.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub async fn accept(&mut self) -> Option<Wire> {
        self.0.recv().await
    }
}

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(ctx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(ctx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(ctx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(ctx)
    }
}
