//! `-o`: in which form a list is shown.

use super::screen::Screen;

#[derive(Debug, clap::Args)]
pub(crate) struct Output {
    /// In which form: all columns, names alone one a line, or JSON as with --json
    #[arg(short = 'o', long = "output", value_enum, value_name = "FORM")]
    form: Option<Form>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Wide,
    Name,
    Json,
}

impl Output {
    /// Where the form is JSON, it is the screen's.
    pub(super) fn apply(&self, screen: &mut Screen) {
        screen.json |= self.form == Some(Form::Json);
    }

    pub(super) fn is_wide(&self) -> bool {
        self.form == Some(Form::Wide)
    }

    pub(super) fn is_names(&self) -> bool {
        self.form == Some(Form::Name)
    }
}
