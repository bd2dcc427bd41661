//! `extman capabilities`.

use super::args::CapabilitiesArgs;
use super::backend::Backend;
use super::fault::Fault;
use super::screen::{Look, Outcome, Screen, Told, cell, lines};
use super::session::{self, mismatch};
use crate::control::{Answer, Command};
use crate::model::CapabilityOffer;

pub(super) fn run(args: &CapabilitiesArgs, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    let (answer, warnings) = session::with(&args.target, backend, |host| host.run(Command::Capabilities))?;
    let Answer::Capabilities(offers) = answer else {
        return Err(mismatch());
    };
    let mut told = Told::new(&offers, render(&offers, &screen.look))?;
    told.warnings = warnings;
    Ok(Outcome::Told(told))
}

fn render(offers: &[CapabilityOffer], look: &Look) -> String {
    if offers.is_empty() {
        return "Nothing can be called. `extman list` shows the plugins and their states.".to_owned();
    }
    let mut table = look.table(&["CAPABILITY", "SERVED BY", "NOT SERVING"]);
    for offer in offers {
        table.add_row(vec![
            cell(&offer.name),
            cell(offer.instances.join("\n")),
            cell(offer.not_serving.join("\n")),
        ]);
    }
    lines(&table)
}
