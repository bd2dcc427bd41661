//! `fault-host` without the linker argument: plugins bind to glibc's thread functions, and the host can't follow them.

fn main() -> std::process::ExitCode {
    extman_tests::scenario::main()
}
