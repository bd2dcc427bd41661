//! A host that lives through one scenario and says what came of it: for plugins that may take the process with them.

fn main() -> std::process::ExitCode {
    extman_tests::scenario::main()
}
