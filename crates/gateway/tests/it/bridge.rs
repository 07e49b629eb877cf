//! Between the eras: legacy servers that ask behind modern clients, modern servers behind legacy clients.

mod asking;

mod leaving;
mod parked;
mod programs;
mod rounds;
mod sessions;
mod states;
mod unanswered;
