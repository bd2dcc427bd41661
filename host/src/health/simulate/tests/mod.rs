//! Whole simulations.

use super::*;

#[test]
fn smoke() {
    let scenario = Scenario::new(1, 128, DAY);
    let report = scenario.run();
    println!("{}", Summary::new(&scenario, &report));
}
