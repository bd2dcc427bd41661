//! The edge from outside: HTTP over real connections, and the program against a real server, with a control that needs no
//! plugin.

mod cli;
mod fake;
mod http;
mod well;
mod wire;
