//! Lua's values as settings.

use mlua::prelude::*;

use crate::config::Value;

/// Named options.
pub(super) type Options = Vec<(String, Value)>;

/// What `register` was given: its named options, and its list part (`key=value` texts).
pub(super) fn read(given: &LuaTable) -> LuaResult<(Options, Vec<String>)> {
    let arguments = given.sequence_values::<String>().collect::<LuaResult<Vec<_>>>()?;
    Ok((entries(given, arguments.len(), 0)?, arguments))
}

/// The named entries; the first `listed` numbers are somebody else's.
fn entries(table: &LuaTable, listed: usize, depth: usize) -> LuaResult<Options> {
    let mut found = Vec::new();
    for pair in table.pairs::<LuaValue, LuaValue>() {
        let (key, value) = pair?;
        let key = match key {
            LuaValue::String(text) => text.to_string_lossy(),
            LuaValue::Integer(index) if usize::try_from(index).is_ok_and(|index| (1..=listed).contains(&index)) => {
                continue;
            }
            other => {
                return Err(LuaError::runtime(format!("option keys are names, got a {}", other.type_name())));
            }
        };
        found.push((key.clone(), scalar(&key, value, depth)?));
    }
    // Lua's order is arbitrary; errors should not be.
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

fn scalar(key: &str, value: LuaValue, depth: usize) -> LuaResult<Value> {
    Ok(match value {
        LuaValue::Boolean(flag) => Value::Bool(flag),
        LuaValue::Integer(number) => Value::Integer(number),
        LuaValue::Number(number) => Value::Float(number),
        LuaValue::String(text) => Value::Text(text.to_string_lossy()),
        LuaValue::Table(_) if depth >= MAX_DEPTH => {
            return Err(LuaError::runtime(format!("option `{key}`: tables are nested too deeply")));
        }
        LuaValue::Table(table) if table.raw_len() > 0 => Value::List(
            table.sequence_values::<LuaValue>().map(|item| scalar(key, item?, depth + 1)).collect::<LuaResult<_>>()?,
        ),
        LuaValue::Table(table) => Value::Table(entries(&table, 0, depth + 1)?),
        other => {
            return Err(LuaError::runtime(format!("option `{key}`: a {} is no setting", other.type_name())));
        }
    })
}

/// Deeper than any setting stands.
const MAX_DEPTH: usize = 8;
