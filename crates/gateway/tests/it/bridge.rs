//! Between the eras: legacy servers that ask behind modern clients, modern servers behind legacy clients.

mod asking;

mod corners;
mod leaving;
mod listening;
mod mixed;
mod parked;
mod programs;
mod rounds;
mod sessions;
mod states;
mod telling;
mod troubles;
mod unanswered;
