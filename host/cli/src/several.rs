//! Several names where one is taken: each is done, whatever became of the others.

use super::fault::{Exit, Fault};
use super::screen::Rendered;
use super::text::count;
use extman_model::control::Failure;

/// Does one thing for each name, in one answer.
pub(super) fn each(
    names: &[String],
    mut one: impl FnMut(&str) -> Result<Rendered, Fault>,
) -> Result<Rendered, Fault> {
    together(names.iter().map(|name| (name.clone(), one(name))).collect())
}

/// One answer for all names: of one name its own, of several an array of the answers, with the failures as warnings.
fn together(mut rendered: Vec<(String, Result<Rendered, Fault>)>) -> Result<Rendered, Fault> {
    if rendered.len() == 1 {
        return rendered.remove(0).1;
    }
    let names = rendered.len();
    let (mut texts, mut data, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    let (mut warnings, mut exit) = (Vec::new(), Exit::Done);
    for (name, one) in rendered {
        match one {
            Ok(one) => {
                texts.push(one.text);
                data.push(one.data);
                warnings.extend(one.warnings);
                exit = worse(exit, one.exit);
            }
            // No host answers: the other names would fail alike.
            Err(fault) if fault.exit != Exit::Failed => return Err(fault),
            Err(fault) => failures.push(format!("{name}: {}", fault.failure.text)),
        }
    }
    let mut all = Rendered {
        warnings,
        exit,
        ..Rendered::new(&data, texts.join("\n\n"))?
    };
    refuse(&mut all, failures, names);
    Ok(all)
}

/// What could be done of so many names is shown, and the exit code says that some failed.
pub(super) fn refuse(all: &mut Rendered, failures: Vec<String>, names: usize) {
    if let Some(first) = failures.first() {
        let text = format!(
            "{} of {} failed, the first: {first}",
            failures.len(),
            count(names, "name")
        );
        (all.refused, all.exit) = (Some(Failure::new("failed", text)), Exit::Failed);
        all.warnings.extend(failures);
    }
}

/// Down is worse than unknown, that than degraded, and that than up.
fn worse(one: Exit, other: Exit) -> Exit {
    if other as u8 > one as u8 { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(name: &str, exit: Exit) -> (String, Result<Rendered, Fault>) {
        let rendered =
            Rendered::new(&name, format!("{name} is there")).map(|rendered| Rendered { exit, ..rendered });
        (name.to_owned(), rendered)
    }

    fn failed(name: &str) -> (String, Result<Rendered, Fault>) {
        (name.to_owned(), Err(Fault::failed("not_found", "no such plugin")))
    }

    #[test]
    fn one_name_is_what_it_came_to() {
        let one = together(vec![rendered("a", Exit::Down)]).unwrap();
        assert_eq!((one.data.get(), one.exit), ("\"a\"", Exit::Down));
        assert_eq!(together(vec![failed("a")]).unwrap_err().failure.kind, "not_found");
    }

    #[test]
    fn of_several_names_the_worst_is_the_exit_code_and_failures_stop_nobody() {
        let all = together(vec![
            rendered("a", Exit::Degraded),
            rendered("b", Exit::Down),
            rendered("c", Exit::Unknown),
        ])
        .unwrap();
        assert_eq!((all.data.get(), all.exit), (r#"["a","b","c"]"#, Exit::Down));
        assert_eq!(all.text, "a is there\n\nb is there\n\nc is there");
        let all = together(vec![failed("x"), rendered("b", Exit::Done)]).unwrap();
        assert_eq!(all.data.get(), r#"["b"]"#);
        assert_eq!(
            all.refused.unwrap().text,
            "1 of 2 names failed, the first: x: no such plugin"
        );
        assert_eq!(all.warnings, ["x: no such plugin"]);
        let gone = vec![
            rendered("a", Exit::Done),
            ("b".to_owned(), Err(Fault::no_host("gone"))),
        ];
        assert_eq!(together(gone).unwrap_err().exit, Exit::NoHost);
    }
}
