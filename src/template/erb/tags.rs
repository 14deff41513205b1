//! Cuts a template into text and tags, and tags into blocks, by Erubis' rules: a tag that is no output and stands alone
//! on its line takes the whole line with it. It reads no expression.

use super::op::{Is, Ops};
use super::parse::Parser;
use crate::error::Result;

/// Blocks nest no deeper.
const DEEPEST: usize = 100;

/// A block that is open.
struct Block {
    /// Where its tag begins.
    at: usize,
    is: What,
    /// The step that leaves the arm, or the loop.
    leave: usize,
    /// The steps that go from the ends of arms to the end of the block.
    ends: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    If,
    Unless,
    Else,
    /// A loop with so many variables.
    Each(usize),
}

/// Compiles a template whose tags stand between the two texts of `pattern`.
///
/// # Errors
/// At the first thing that is not understood.
#[inline(never)]
pub fn compile(name: &str, text: &str, pattern: &(String, String)) -> Result<Ops> {
    let mut p = Parser::new(name, text);
    let mut blocks = Vec::new();
    let (mut from, mut is_fresh) = (0, true); // whether `from` is the beginning of a line
    while let Some(tag) = p.find(from, &pattern.0) {
        let inside = tag + pattern.0.len();
        let Some(end) = p.find(inside, &pattern.1) else {
            return Err(p.fail(tag, &["this tag is not closed by ", &pattern.1]));
        };
        let after = end + pattern.1.len();
        let code = p.slice(inside, end).as_bytes();
        let first = code.first().copied().unwrap_or(b' ');
        let (mut shown, mut next) = (tag, after);
        if first != b'=' {
            // Blanks from the beginning of the line to its end?
            while shown > from && matches!(p.byte(shown - 1), b' ' | b'\t') {
                shown -= 1;
            }
            while matches!(p.byte(next), b' ' | b'\t') {
                next += 1;
            }
            if p.byte(next) == b'\r' && p.byte(next + 1) == b'\n' {
                next += 1;
            }
            let is_line = if shown == from { is_fresh } else { p.byte(shown - 1) == b'\n' };
            (shown, next) = if is_line && p.byte(next) == b'\n' { (shown, next + 1) } else { (tag, after) };
        }
        is_fresh = next != after;
        p.out.add(from, Is::Text, shown);
        from = next;
        if first == b'#' {
            continue;
        }
        if code.last() == Some(&b'-') {
            return Err(p.not_understood(tag, &["-", &pattern.1].concat()));
        }
        if matches!(first, b'-' | b'%') || code.starts_with(b"==") {
            return Err(p.not_understood(tag, p.slice(tag, inside + 1)));
        }
        if first == b'=' {
            p.enter(inside + 1, end);
            p.expression()?;
            p.out.add(inside, Is::Print, 0);
        } else {
            p.enter(inside, end);
            let is_last = p.slice(next, text.len()).trim_ascii().is_empty();
            statement(&mut p, &mut blocks, is_last)?;
        }
        p.done()?;
    }
    if let Some(block) = blocks.last() {
        return Err(p.fail(block.at, &["this block has no end"]));
    }
    p.out.add(from, Is::Text, text.len());
    Ok(p.out)
}

/// One tag that is no output. `is_last`: nothing comes after it.
#[inline(never)]
fn statement(p: &mut Parser, blocks: &mut Vec<Block>, is_last: bool) -> Result<()> {
    let at = p.start();
    let word = p.word();
    match word {
        "" if p.is_done() => {}
        "if" | "unless" => {
            p.expression()?;
            let (is, step) = if word == "if" { (What::If, Is::If) } else { (What::Unless, Is::Unless) };
            let leave = p.out.add(at, step, 0);
            blocks.push(Block { at, is, leave, ends: Vec::new() });
        }
        "elsif" | "else" => {
            let is_else = word == "else";
            let Some(block) = blocks.last_mut() else { return Err(p.fail(at, &[word, " without an if"])) };
            match block.is {
                What::If => {}
                What::Unless if is_else => {}
                What::Each(_) => return Err(p.fail(at, &[word, " without an if"])),
                What::Unless | What::Else => return Err(p.fail(at, &[word, " cannot stand here"])),
            }
            block.ends.push(p.out.add(at, Is::Jump, 0));
            p.out.land(block.leave);
            if is_else {
                block.is = What::Else;
            } else {
                p.expression()?;
                block.leave = p.out.add(at, Is::If, 0);
            }
        }
        "end" => match blocks.pop() {
            Some(block) => {
                if let What::Each(n) = block.is {
                    p.forget(n);
                    p.out.add(at, Is::Jump, block.leave);
                }
                for step in block.ends {
                    p.out.land(step);
                }
                if block.is != What::Else {
                    p.out.land(block.leave);
                }
            }
            // A sample of reconfig's own README has one `end` too many as its last tag.
            None if is_last => {}
            None => return Err(p.fail(at, &["end without a block"])),
        },
        _ => {
            let n = p.each(at)?;
            p.out.add(at, Is::Each, n);
            let leave = p.out.add(at, Is::Next, 0);
            blocks.push(Block { at, is: What::Each(n), leave, ends: Vec::new() });
        }
    }
    if blocks.len() > DEEPEST {
        return Err(p.fail(at, &["blocks nest more than 100 levels deep"]));
    }
    Ok(())
}
