//! `extman capabilities`.

use super::args::CapabilitiesArgs;
use super::backend::Backend;
use super::fault::Fault;
use super::screen::{Look, Outcome, Rendered, Screen, cell, lines};
use super::session::{self, mismatch};
use super::text::plain;
use extman_model::CapabilityOffer;
use extman_model::control::{Answer, Command};

pub(super) fn run(args: &CapabilitiesArgs, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    let (answer, warnings) = session::with(&args.target, backend, |host| host.run(Command::Capabilities))?;
    let Answer::Capabilities(offers) = answer else {
        return Err(mismatch());
    };
    let mut rendered = Rendered::new(&offers, render(&offers, &screen.look))?;
    rendered.warnings = warnings;
    Ok(Outcome::Rendered(rendered))
}

fn render(offers: &[CapabilityOffer], look: &Look) -> String {
    if offers.is_empty() {
        return "Nothing can be called. `extman list` shows the plugins and their states.".to_owned();
    }
    let rows: Vec<[String; 3]> = offers
        .iter()
        .map(|offer| {
            let (serving, not) = (offer.instances.join("\n"), offer.not_serving.join("\n"));
            [offer.name.clone(), serving, not]
        })
        .collect();
    if !look.fits(&HEADER, &rows) {
        return offers.iter().map(paragraph).collect::<Vec<_>>().join("\n");
    }
    let mut table = look.table(&HEADER);
    for row in &rows {
        table.add_row(row.iter().map(cell).collect::<Vec<_>>());
    }
    lines(&table)
}

const HEADER: [&str; 3] = ["CAPABILITY", "SERVED BY", "NOT SERVING"];

/// A row whose table would be wider than the screen, each name on a line of its own.
fn paragraph(offer: &CapabilityOffer) -> String {
    let mut text = format!(" {}", plain(&offer.name));
    for (word, names) in [
        ("served by", &offer.instances),
        ("not serving", &offer.not_serving),
    ] {
        for name in names {
            text.push_str(&format!("\n   {word}: {}", plain(name)));
        }
    }
    text
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
            format!(" text.echo\n   served by: {one}\n   not serving: {other}")
        );
        let wide = render(&[offer], &look(200));
        assert_eq!(wide.lines().count(), 2, "{wide}");
    }
}
