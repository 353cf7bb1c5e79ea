//! The agent as a program of its own: the real binary, asked over real sockets.

mod asking;
mod haproxy;
mod life;
mod lines;
mod narrowed;
mod settings;
mod systemd;
