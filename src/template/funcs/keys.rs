//! The functions that look at the store. Each look is recorded exactly: a key as a key, a glob as the text before its
//! first wildcard, a folder as its prefix.

use super::{distinct, fail, sort, text_arg};
use crate::error::{Error, Kind, Result};
use crate::store::Entry;
use crate::sys::meter;
use crate::template::Context;
use crate::text::{fill, path};
use crate::value::{Elem, Pair, Value};
use std::sync::Arc;

fn value_of(entry: &Entry) -> Value {
    Value::from_bytes(&entry.0, &entry.1)
}

fn pair_of(entry: &Entry) -> Value {
    Value::Pair(Arc::new(Pair { key: entry.0.clone(), value: value_of(entry) }))
}

/// Most characters of a key that an error shows: a template can make one of 64 MiB.
const SHOWN: usize = 1000;

fn missing(key: &str) -> Error {
    let key = key.char_indices().nth(SHOWN).and_then(|(end, _)| key.get(..end)).unwrap_or(key);
    Error::new(Kind::MissingKey, fill("key does not exist: %", &[key]))
}

/// Whether the key exists.
pub fn exists(ctx: &Context, args: &[Value], _: u8) -> Result<Value> {
    Ok(Value::Bool(ctx.store.get(text_arg(args, 0)).is_some()))
}

/// The key with its value (`get`), or the value alone; without such a key the second argument, if there is one.
pub fn get(ctx: &Context, args: &[Value], op: u8) -> Result<Value> {
    let key = text_arg(args, 0);
    match (ctx.store.get(key), args.get(1)) {
        (Some(entry), _) => Ok(if op == b'p' { pair_of(entry) } else { value_of(entry) }),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => Err(missing(key)),
    }
}

/// The entries whose key matches the pattern, in key order.
fn matching<'a>(ctx: &'a Context, pattern: &str) -> Result<Vec<&'a Entry>> {
    let Some(compiled) = path::compile(pattern) else {
        return fail("syntax error in pattern", &[]);
    };
    let literal = pattern.find(['*', '?', '[', '\\']).and_then(|at| pattern.get(..at));
    Ok(match literal {
        None => ctx.store.get(pattern).into_iter().collect(),
        Some(prefix) => {
            let found = ctx.store.under(prefix);
            let matches = |e: &&Entry| {
                meter::charge(1 + compiled.len() / 16);
                !meter::is_spent() && path::matches(&compiled, &e.0)
            };
            found.iter().filter(matches).collect()
        }
    })
}

/// The keys that match: with their values, by key (`gets`), or the values alone, by value.
pub fn gets(ctx: &Context, args: &[Value], op: u8) -> Result<Value> {
    let is_pairs = op == b'p';
    let mut list = Vec::new();
    for entry in matching(ctx, text_arg(args, 0))? {
        list.push(if is_pairs { pair_of(entry) } else { value_of(entry) });
    }
    if !is_pairs {
        sort(&mut list, |a, b| a.as_bytes().cmp(&b.as_bytes()));
    }
    Ok(Value::typed_list(if is_pairs { Elem::Pairs } else { Elem::Str }, list))
}

/// A folder as a prefix that ends in `/`; `None` when no key can be in it.
fn folder(clean: &str) -> Option<String> {
    if !clean.starts_with('/') {
        return None;
    }
    let mut s = String::from(clean);
    if clean != "/" {
        s.push('/');
    }
    Some(s)
}

/// Adds a name, unless it is the last one again.
fn add(list: &mut Vec<Value>, name: &str) {
    if list.last().and_then(Value::as_str) != Some(name) {
        list.push(Value::str(name));
    }
}

/// What is directly in a folder: its keys and folders. Of a key itself: its own last word.
pub fn ls(ctx: &Context, args: &[Value], _: u8) -> Result<Value> {
    let name = text_arg(args, 0);
    meter::charge(name.len() / 8);
    let clean = path::clean(name);
    let mut found = Vec::new();
    if let Some((key, _)) = ctx.store.get(name) {
        add(&mut found, path::base(key));
    }
    if let Some(prefix) = folder(&clean) {
        let all = ctx.store.under(&prefix);
        meter::charge(all.len());
        for (key, _) in all {
            // memkv compares the words of the paths: of the root ("/" is two empty words) only leaves match.
            let nested = key.get(prefix.len()..).is_some_and(|k| k.contains('/'));
            if &**key == name || (clean == "/" && nested) {
                continue;
            }
            let rest = key.strip_prefix(name).unwrap_or(key);
            let rest = rest.strip_prefix('/').unwrap_or(rest);
            add(&mut found, rest.split_once('/').map_or(rest, |r| r.0));
        }
    }
    Ok(distinct(found))
}

/// The folders directly in a folder.
pub fn lsdir(ctx: &Context, args: &[Value], _: u8) -> Result<Value> {
    let name = text_arg(args, 0);
    meter::charge(name.len() / 8);
    let clean = path::clean(name);
    let mut found = Vec::new();
    // Of the root, memkv finds none (see `ls`).
    if let Some(prefix) = folder(&clean).filter(|_| clean != "/") {
        let all = ctx.store.under(&prefix);
        meter::charge(all.len());
        for (key, _) in all {
            let rest = key.get(prefix.len()..).unwrap_or("");
            if let (true, Some((dir, _))) = (key.starts_with(name), rest.split_once('/')) {
                add(&mut found, dir);
            }
        }
    }
    Ok(distinct(found))
}
