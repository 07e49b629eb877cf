//! One seed: a gateway, its servers, its clients, and what befalls them; and what must hold at the end.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use auth::KeyDirectory;
use gateway::probe::{self, Counts, Kept};
use gateway::{Door, Doors, Gateway, Settings};
use resources::{ResourceSet, Values};
use tokio::runtime::{Builder, Handle};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};
use transport::inbound::{Limits, drain, serve_simulated};
use transport::simulated::{Network, Weather};

use crate::client::{Client, GATEWAY, Shared, Speaks};
use crate::dice::Dice;
use crate::keys::{self, CALLERS};
use crate::server::{self, Server};
use crate::story::{Story, Told};

const SERVERS: [&str; 3] = ["a.sim", "b.sim", "c.sim"];
const TOOLS: [&str; 3] = ["a_play", "b_play", "c_play"];
/// How long the gateway may take to know its servers.
const START_WAIT: Duration = Duration::from_secs(60);
/// After this time without a word of any client no call may be under way: the longest that one waits, and the longest one takes.
const CALLS_WAIT: Duration = Duration::from_secs(600 + 30 + 1);
/// After this time sessions that nobody uses are gone.
const SESSIONS_WAIT: Duration = Duration::from_secs(30 * 60 + 31);
/// How long the end may take.
const END_WAIT: Duration = Duration::from_secs(30);

/// Plays one seed.
pub(crate) fn play(seed: u64) -> Told {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    let local = LocalSet::new();
    let keys = keys::directory();
    probe::seed(seed);
    let told = local.block_on(&runtime, async move {
        let story = Story::begin();
        let world = World::draw(&Dice::new(seed), &story);
        world.play(&handle, keys).await;
        story.told()
    });
    drop(local);
    told
}

/// One gateway and all around it. A second replica would be a second gateway behind [`GATEWAY`], joined by a key; what it
/// adopts comes from the store, which has threads and a clock of its own, and so cannot be here while time is paused.
struct World {
    story: Story,
    dice: Dice,
    network: Network,
    servers: Vec<Rc<Server>>,
    /// Nothing goes wrong on the servers' side: then every honest call succeeds.
    is_tame: bool,
    total: Duration,
}

impl World {
    fn draw(dice: &Dice, story: &Story) -> Self {
        let weather = dice.fork();
        let buffer_bytes = dice.pick(&[16, 256, 4096, 65_536, 65_536]);
        let network = Network::new(move |_| Weather {
            connect: Duration::from_millis(weather.pick(&[0, 0, 0, 1, 20])),
            buffer_bytes,
        });
        let speaks = [
            server::Speaks::Legacy,
            server::Speaks::Modern,
            server::Speaks::Both,
        ];
        let is_tame = dice.percent(35);
        let count = usize::try_from(dice.between(1, 3)).unwrap();
        let servers = SERVERS[..count].iter().map(|name| {
            // Nobody can be asked over a session that all share.
            let is_shared = !is_tame && dice.percent(15);
            Server::new(name, dice.pick(&speaks), is_shared, story, &network)
        });
        let servers = servers.collect();
        Self {
            story: story.clone(),
            network,
            servers,
            is_tame,
            total: Duration::from_secs(dice.pick(&[40, 300, 1800])),
            dice: dice.fork(),
        }
    }

    /// What is declared, with only those servers whose number is in `among`.
    fn resources(&self, among: impl Fn(usize) -> bool, more: &str) -> ResourceSet {
        let total = if self.is_tame {
            1800
        } else {
            self.total.as_secs()
        };
        let servers: String = self
            .servers
            .iter()
            .enumerate()
            .filter(|(at, _)| among(*at))
            .map(|(_, server)| {
                let name = server.name;
                let label = &name[..1];
                let isolation = if server.is_shared { "Shared" } else { "PerSession" };
                format!("  - {{name: {label}, url: \"http://{name}/mcp\", prefix: {label}_, isolation: {isolation}, timeouts: {{total: {total}s}}{more}}}\n")
            })
            .collect();
        let yaml = format!(
            "apiVersion: marque.dev/v1alpha1\nkind: Toolset\nmetadata: {{name: main}}\nspec:\n  servers:\n{servers}"
        );
        let parsed = resources::parse("simulated.yaml", None, &yaml);
        let built = resources::build(&parsed.documents, Values::default());
        let findings = [parsed.findings, built.findings].concat();
        built.set.unwrap_or_else(|| panic!("{findings:#?}\n{yaml}"))
    }

    async fn play(self, runtime: &Handle, keys: Arc<KeyDirectory>) {
        let mut lives = JoinSet::new();
        for server in &self.servers {
            lives.spawn_local(server.clone().serve());
        }
        let installed = self.network.install();
        let settings = Settings::alone(PathBuf::from("/bin/false"));
        let gateway = Gateway::start(&self.resources(|_| true, ""), settings).unwrap();
        let (trigger, watch) = drain::channel();
        let doors = Doors::with_keys(gateway.clone(), vec![Door::loopback()], keys);
        let mut serving = JoinSet::new();
        let limits = Arc::new(Limits::default());
        serving.spawn(serve_simulated(
            self.network.listen(GATEWAY),
            doors,
            limits,
            watch,
        ));
        self.start(&gateway).await;
        let kept = RefCell::new(Vec::new());
        self.live(&gateway, &kept).await;
        self.check_rest(&gateway).await;
        kept.borrow_mut().extend(gateway.kept());
        self.story.note("world", "ends");
        gateway.close().await;
        if !trigger.drain(END_WAIT).await {
            self.story
                .fault("world", "connections had to be cut at the end");
        }
        serving.join_next().await;
        drop(gateway);
        sleep(Duration::from_secs(1)).await;
        self.check_end(runtime, &kept.into_inner());
        drop(installed);
        lives.shutdown().await;
    }

    async fn start(&self, gateway: &Gateway) {
        let settled = async {
            while !gateway.report().settled {
                sleep(Duration::from_millis(100)).await;
            }
        };
        if timeout(START_WAIT, settled).await.is_err() {
            self.story
                .fault("world", format!("does not start: {:?}", gateway.report()));
        }
        gateway.refresh();
    }

    /// All clients, and what befalls them meanwhile.
    async fn live(&self, gateway: &Arc<Gateway>, kept: &RefCell<Vec<Kept>>) {
        let shared = Rc::new(Shared {
            story: self.story.clone(),
            network: self.network.clone(),
            servers: self.servers.clone(),
            tools: TOOLS[..self.servers.len()].to_vec(),
            is_tame: self.is_tame,
            states: RefCell::default(),
            sessions: RefCell::default(),
        });
        let mut clients = JoinSet::new();
        for at in 0..self.dice.between(1, 3) {
            let speaks = self.dice.pick(&[Speaks::Legacy, Speaks::Modern]);
            let kind = if speaks == Speaks::Legacy { 'l' } else { 'm' };
            let caller = self.dice.pick(&CALLERS);
            let client = Client::new(format!("{kind}{at}{caller}"), &shared, self.dice.fork());
            clients.spawn_local(client.live(speaks));
        }
        let all = async {
            while let Some(ended) = clients.join_next().await {
                if let Err(error) = ended {
                    self.story
                        .fault("world", format!("a client failed: {error}"));
                }
            }
        };
        let watch = async {
            loop {
                sleep(Duration::from_secs(20)).await;
                kept.borrow_mut().retain(Kept::lives);
                kept.borrow_mut().extend(gateway.kept());
            }
        };
        tokio::select! {
            () = all => {}
            () = self.befall(gateway) => {}
            () = watch => {}
        }
    }

    /// What goes wrong, for as long as there are clients.
    async fn befall(&self, gateway: &Gateway) {
        let speaks = [
            server::Speaks::Legacy,
            server::Speaks::Modern,
            server::Speaks::Both,
        ];
        for _ in 0..self.dice.between(0, 4) {
            sleep(self.dice.wait(Duration::from_secs(120))).await;
            let server = &self.servers
                [usize::try_from(self.dice.next() % self.servers.len() as u64).unwrap()];
            match self.dice.between(0, 3) {
                0 if !self.is_tame => {
                    server
                        .restart(
                            self.dice.wait(Duration::from_secs(60)),
                            self.dice.pick(&speaks),
                        )
                        .await
                }
                1 if !self.is_tame => server.lose_sessions(),
                2 if !self.is_tame => {
                    let without = usize::try_from(self.dice.between(0, 2)).unwrap();
                    self.reload(gateway, |at| at != without || at == 0, "");
                    sleep(self.dice.wait(Duration::from_secs(60))).await;
                    self.reload(gateway, |_| true, "");
                }
                // The same servers, declared in other words.
                _ => self.reload(
                    gateway,
                    |_| true,
                    self.dice
                        .pick(&["", ", headers: [{name: X-Other, value: y}]"]),
                ),
            }
        }
        std::future::pending().await
    }

    fn reload(&self, gateway: &Gateway, among: impl Fn(usize) -> bool, more: &str) {
        self.story.note("world", format!("reloads {more}"));
        self.story.count("reloads");
        gateway.apply(&self.resources(among, more)).unwrap();
    }

    /// Nobody has said anything for long: nothing is under way.
    async fn check_rest(&self, gateway: &Gateway) {
        self.story
            .note("world", "waits until no call can be under way");
        sleep(CALLS_WAIT + self.total).await;
        let counts = gateway.counts();
        self.story.note("world", format!("{counts:?}"));
        let rest = Counts {
            requests: 0,
            questions: 0,
            parked: 0,
            ..counts.clone()
        };
        if counts != rest {
            self.story
                .fault("world", format!("something is still under way: {counts:?}"));
        }
        for server in &self.servers {
            server.check_ended();
        }
        sleep(SESSIONS_WAIT).await;
        let counts = gateway.counts();
        if counts != Counts::default() {
            self.story
                .fault("world", format!("something is still kept: {counts:?}"));
        }
        for server in &self.servers {
            // The gateway's own, and no other.
            if server.sessions() > 1 {
                self.story.fault(
                    "world",
                    format!("{} still has {} sessions", server.name, server.sessions()),
                );
            }
        }
    }

    /// The gateway is gone: so is everything that was its own.
    fn check_end(&self, runtime: &Handle, kept: &[Kept]) {
        let tasks = runtime.metrics().num_alive_tasks();
        if tasks > 0 {
            self.story.fault("world", format!("{tasks} tasks are left"));
        }
        if self.network.open() > 0 {
            self.story.fault(
                "world",
                format!("{} ends of connections are left", self.network.open()),
            );
        }
        for kept in kept.iter().filter(|kept| kept.lives()) {
            self.story.fault("world", format!("{} is left", kept.what));
        }
    }
}
