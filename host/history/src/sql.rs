//! Statements that are prepared once, in one line each.

use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension, Params, Result, Row};

/// Changes rows.
pub(super) fn execute(connection: &Connection, sql: &str, params: impl Params) -> Result<()> {
    connection.prepare_cached(sql)?.execute(params).map(drop)
}

/// The first column of the first row; `None` if there is no row, or nothing in it.
pub(super) fn value<T: FromSql>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
) -> Result<Option<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row(params, |row| row.get(0)).optional()?;
    Ok(found.flatten())
}

/// All rows.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    connection.prepare_cached(sql)?.query_map(params, read)?.collect()
}
