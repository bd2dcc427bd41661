//! Statements that are prepared once, in one line each.

use rusqlite::{Connection, OptionalExtension, Params, Result, Row};

/// Changes rows; how many.
pub(super) fn execute(connection: &Connection, sql: &str, params: impl Params) -> Result<usize> {
    connection.prepare_cached(sql)?.execute(params)
}

/// The first row, as a tuple of its columns.
pub(super) fn find<T>(connection: &Connection, sql: &str, params: impl Params) -> Result<Option<T>>
where
    T: for<'row> TryFrom<&'row Row<'row>, Error = rusqlite::Error>,
{
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(params, |row| row.try_into()).optional()
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
