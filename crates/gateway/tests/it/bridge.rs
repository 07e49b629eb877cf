//! Between the eras: legacy servers that ask behind modern clients, modern servers behind legacy clients.

mod aside;
mod asking;
mod corners;
mod held;
mod kinds;
mod leaving;
mod listening;
mod mixed;
mod notices;
mod parked;
mod programs;
mod rounds;
mod sessions;
mod states;
mod tasks;
mod telling;
mod troubles;
mod unanswered;
mod urls;
