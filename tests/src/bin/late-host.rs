//! Loads a library whose constructor hangs for longer than it may, in a process of its own: `late-host LIBRARY`.

fn main() {
    extman_tests::late::main();
}
