//! `extman capabilities`.

use super::args::HostAlone;
use super::backend::Backend;
use super::fault::Fault;
use super::grid::grid;
use super::screen::{Look, Outcome, Screen};
use super::session;
use extman_model::CapabilityOffer;
use extman_model::control::Command;

pub(super) fn run(args: &HostAlone, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    session::answered(
        &args.target,
        backend,
        Command::Capabilities,
        |offers: &Vec<CapabilityOffer>| render(offers, &screen.look),
    )
}

fn render(offers: &[CapabilityOffer], look: &Look) -> String {
    if offers.is_empty() {
        return "Nothing can be called. `extman list` shows the plugins and their states.".to_owned();
    }
    let row = |offer: &CapabilityOffer| {
        [
            offer.name.clone(),
            offer.instances.join("\n"),
            offer.not_serving.join("\n"),
        ]
    };
    let rows: Vec<_> = offers.iter().map(row).collect();
    grid(&["CAPABILITY", "SERVED BY", "NOT SERVING"], &rows, look)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_one_piece_however_narrow_it_is() {
        let (one, other) = ("n".repeat(50), "m".repeat(50));
        let offer: CapabilityOffer = serde_json::from_value(
            serde_json::json!({"name": "text.echo", "instances": [one], "not_serving": [other]}),
        )
        .unwrap();
        let look = |width| Look {
            width,
            colour: false,
            now_unix_ms: 0,
        };
        let narrow = render(std::slice::from_ref(&offer), &look(80));
        assert_eq!(
            narrow,
            format!(" text.echo\n   served by {one}, not serving\n   {other}")
        );
        let wide = render(&[offer], &look(200));
        assert_eq!(wide.lines().count(), 2, "{wide}");
    }
}
