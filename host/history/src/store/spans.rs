//! Turns become spans. The spans of an instance follow one another: none overlaps another or ends before it begins, whatever the
//! wall clock does: when it is set, spans move (`set_clock`), and a turn that claims all the same to be before the last span's beginning
//! or end happens then.

use super::{cut_text, time};
use crate::words::{self, StateWords};
use extman_model::record::{SpanState, Turn};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use std::collections::HashMap;
use std::sync::Arc;

/// Spans that go on, by their instance's number.
#[derive(Debug, Default)]
pub(super) struct OpenSpans(HashMap<u32, Open>);

#[derive(Debug)]
struct Open {
    row: i64,
    name: Arc<str>,
    from_ms: u64,
    /// `None` for words that this host does not know.
    state: Option<SpanState>,
    text: Option<String>,
}

/// Spans without an end were cut: they end when a host was last known to live.
pub(super) fn cut(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let alive: Option<i64> = transaction
        .query_row(
            "SELECT alive_ms FROM host_run ORDER BY id DESC LIMIT 1",
            [],
            |row| row.get(0),
        )
        .optional()?;
    transaction.execute(
        "UPDATE state_span SET to_ms = max(from_ms, ?1), cut = 1 WHERE to_ms IS NULL",
        [alive.unwrap_or(0)],
    )?;
    Ok(())
}

/// The columns that [`state_words`] reads, in their order.
pub(crate) const STATE_COLUMNS: &str = "lifecycle, health, cause, cause_of, left_out";

/// A state that begins at this column.
pub(crate) fn state_words(row: &Row<'_>, first: usize) -> rusqlite::Result<StateWords> {
    Ok(StateWords {
        lifecycle: row.get(first)?,
        health: row.get(first + 1)?,
        cause: row.get(first + 2)?,
        cause_of: row.get(first + 3)?,
        left_out: row.get(first + 4)?,
    })
}

impl OpenSpans {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let sql = format!(
            "SELECT instance, state_span.id, name, from_ms, text, {STATE_COLUMNS}
             FROM state_span JOIN instance ON instance.id = instance WHERE to_ms IS NULL"
        );
        let mut statement = connection.prepare(&sql)?;
        let rows = statement.query_map([], |row| {
            let open = Open {
                row: row.get(1)?,
                name: row.get::<_, String>(2)?.into(),
                from_ms: time::moment(row.get(3)?),
                text: row.get(4)?,
                state: words::state(&state_words(row, 5)?),
            };
            Ok((row.get(0)?, open))
        })?;
        rows.collect::<rusqlite::Result<_>>().map(OpenSpans)
    }

    /// The numbers of their rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = i64> {
        self.0.values().map(|open| open.row)
    }

    pub(super) fn turns(&self) -> Vec<Turn> {
        let turn = |open: &Open| Turn {
            instance: open.name.clone(),
            at_unix_ms: open.from_ms,
            state: open.state,
            text: open.text.clone(),
        };
        self.0.values().map(turn).collect()
    }

    pub(super) fn turn(
        &mut self,
        transaction: &Transaction<'_>,
        instance: u32,
        turn: &Turn,
        latest_ms: u64,
        claims: (i64, i64),
    ) -> rusqlite::Result<()> {
        let text = turn.text.as_deref().map(cut_text);
        let open = self.0.get_mut(&instance);
        if let (Some(open), Some(state)) = (&open, turn.state)
            && open.state == Some(state)
        {
            return go_on(transaction, self.0.get_mut(&instance), text);
        }
        let no_earlier_than = match &open {
            Some(open) => open.from_ms,
            None => last_end(transaction, instance, claims)?,
        };
        let at_ms = time::bounded(turn.at_unix_ms.min(latest_ms)).max(no_earlier_than);
        if let Some(open) = open {
            transaction
                .prepare_cached("UPDATE state_span SET to_ms = ?1 WHERE id = ?2")?
                .execute([time::stored(at_ms), open.row])?;
            self.0.remove(&instance);
        }
        if let Some(state) = turn.state {
            begin(transaction, instance, at_ms, &state, text)?;
            let open = Open {
                row: transaction.last_insert_rowid(),
                name: turn.instance.clone(),
                from_ms: at_ms,
                state: Some(state),
                text: text.map(str::to_owned),
            };
            self.0.insert(instance, open);
        }
        Ok(())
    }
}

/// The same state again: the span goes on, and the newest words stand in it.
fn go_on(transaction: &Transaction<'_>, open: Option<&mut Open>, text: Option<&str>) -> rusqlite::Result<()> {
    let (Some(open), Some(text)) = (open, text) else {
        return Ok(());
    };
    if open.text.as_deref() != Some(text) {
        transaction
            .prepare_cached("UPDATE state_span SET text = ?1 WHERE id = ?2")?
            .execute(params![text, open.row])?;
        open.text = Some(text.to_owned());
    }
    Ok(())
}

fn begin(
    transaction: &Transaction<'_>,
    instance: u32,
    at_ms: u64,
    state: &SpanState,
    text: Option<&str>,
) -> rusqlite::Result<()> {
    let words = words::words(state);
    transaction
        .prepare_cached(
            "INSERT INTO state_span (instance, from_ms, lifecycle, health, cause, cause_of, left_out, text)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            instance,
            time::stored(at_ms),
            words.lifecycle,
            words.health,
            words.cause,
            words.cause_of,
            words.left_out,
            text
        ])?;
    Ok(())
}

/// What an earlier host has claimed of times that have not come holds up nobody.
fn last_end(transaction: &Transaction<'_>, instance: u32, claims: (i64, i64)) -> rusqlite::Result<u64> {
    let end: Option<Option<i64>> = transaction
        .prepare_cached(
            "SELECT to_ms FROM state_span WHERE instance = ?1 AND (id > ?2 OR to_ms <= ?3)
             ORDER BY from_ms DESC, id DESC LIMIT 1",
        )?
        .query_row((instance, claims.0, claims.1), |row| row.get(0))
        .optional()?;
    Ok(end.flatten().map_or(0, time::moment))
}
