//! A folder of YAML becomes a ResourceSet, and again when it changes.
//!
//! Invariants: above here nobody can tell that a resource came from a file; what is read, walked and waited for is bounded;
//! a half-valid folder gives findings and no set.
//!
//! Start reading at [`load`].

mod load;
mod targets;
mod walk;
mod watch;

pub use load::{Loaded, SOURCE_BYTES_MAX, load};
pub use walk::{FILES_MAX, FOLDER_DEPTH_MAX};
pub use watch::Watch;
