//! Several names where one is taken: each is done, whatever became of the others.

use super::fault::{Exit, Fault};
use super::screen::Told;
use super::text::count;
use extman_model::control::Failure;
use serde_json::Value;

/// What the names came to, as one answer: of one name what it came to, of several an array of what there is, with the failures beside
/// it.
pub(super) fn together(mut told: Vec<(String, Result<Told, Fault>)>) -> Result<Told, Fault> {
    if told.len() == 1 {
        return told.remove(0).1;
    }
    let names = told.len();
    let mut all = Told {
        text: String::new(),
        data: Value::Null,
        warnings: Vec::new(),
        refused: None,
        exit: Exit::Done,
    };
    let (mut texts, mut data, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for (name, one) in told {
        match one {
            Ok(one) => {
                texts.push(one.text);
                data.push(one.data);
                all.warnings.extend(one.warnings);
                all.exit = worse(all.exit, one.exit);
            }
            // Nobody answers: the others would hear the same.
            Err(fault) if fault.exit != Exit::Failed => return Err(fault),
            Err(fault) => failures.push(format!("{name}: {}", fault.failure.text)),
        }
    }
    (all.text, all.data) = (texts.join("\n\n"), Value::Array(data));
    if let Some(first) = failures.first() {
        let text = format!(
            "{} of {} failed, the first: {first}",
            failures.len(),
            count(names, "name")
        );
        all.refused = Some(Failure::new("failed", text));
        all.warnings.extend(failures);
    }
    Ok(all)
}

/// Down is worse than unknown, that than degraded, and that than up.
fn worse(one: Exit, other: Exit) -> Exit {
    if other as u8 > one as u8 { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, exit: Exit) -> (String, Result<Told, Fault>) {
        let told = Told::new(&name, format!("{name} is there")).map(|told| Told { exit, ..told });
        (name.to_owned(), told)
    }

    fn failed(name: &str) -> (String, Result<Told, Fault>) {
        (name.to_owned(), Err(Fault::failed("not_found", "no such plugin")))
    }

    #[test]
    fn one_name_is_what_it_came_to() {
        let one = together(vec![told("a", Exit::Down)]).unwrap();
        assert_eq!((one.data, one.exit), ("a".into(), Exit::Down));
        assert_eq!(together(vec![failed("a")]).unwrap_err().failure.kind, "not_found");
    }

    #[test]
    fn of_several_names_the_worst_is_the_exit_code_and_failures_stop_nobody() {
        let all = together(vec![
            told("a", Exit::Degraded),
            told("b", Exit::Down),
            told("c", Exit::Unknown),
        ])
        .unwrap();
        assert_eq!(
            (all.data, all.exit),
            (serde_json::json!(["a", "b", "c"]), Exit::Down)
        );
        assert_eq!(all.text, "a is there\n\nb is there\n\nc is there");
        let all = together(vec![failed("x"), told("b", Exit::Done)]).unwrap();
        assert_eq!(all.data, serde_json::json!(["b"]));
        assert_eq!(
            all.refused.unwrap().text,
            "1 of 2 names failed, the first: x: no such plugin"
        );
        assert_eq!(all.warnings, ["x: no such plugin"]);
        let gone = vec![
            told("a", Exit::Done),
            ("b".to_owned(), Err(Fault::no_host("gone"))),
        ];
        assert_eq!(together(gone).unwrap_err().exit, Exit::NoHost);
    }
}
