//! Deep checks of one instance, one by one.

use super::{Bounded, HistoryError, ROWS_MAX, Reader};
use crate::time;
use crate::words;
use extman_model::record::{DeepRow, Range};
use rusqlite::params;

impl Reader {
    /// The newest deep checks within a range, at most `limit` and 10,000.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn deep_checks(
        &self,
        instance: &str,
        range: Range,
        limit: usize,
    ) -> Result<Bounded<DeepRow>, HistoryError> {
        let limit = limit.min(ROWS_MAX);
        self.ask_of(instance, |file, number| {
            let mut statement = file.prepare_cached(
                "SELECT at_ms, result, counted, took_ns, text FROM deep_check
                 WHERE instance = ?1 AND at_ms >= ?2 AND at_ms < ?3 ORDER BY at_ms DESC, id DESC LIMIT ?4",
            )?;
            let (from, to) = (time::stored(range.from_unix_ms), time::stored(range.to_unix_ms));
            let mut found = statement.query(params![number, from, to, limit as i64 + 1])?;
            let mut rows = Vec::new();
            let mut read = 0;
            while let Some(row) = found.next()? {
                read += 1;
                // Words of another version are passed over.
                if let Some(result) = words::result_word(row.get(1)?)
                    && read <= limit
                {
                    rows.push(DeepRow {
                        instance: instance.into(),
                        at_unix_ms: time::moment(row.get(0)?),
                        result,
                        counted: row.get(2)?,
                        took_ns: row.get::<_, Option<i64>>(3)?.map(time::moment),
                        text: row.get(4)?,
                    });
                }
            }
            rows.reverse();
            Ok(Bounded {
                rows,
                more: read > limit,
            })
        })
        .map(|answer| answer.unwrap_or_else(Bounded::none))
    }
}
