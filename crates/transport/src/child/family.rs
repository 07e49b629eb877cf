//! Parents, children and orphans, as far as the system tells of them.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod unix;

#[cfg(target_os = "linux")]
pub(super) use self::linux::{Parent, adopt_orphans, ask_strays, be_named, kill_children};
#[cfg(not(target_os = "linux"))]
pub(super) use self::unix::{Parent, adopt_orphans, ask_strays, be_named, kill_children};
