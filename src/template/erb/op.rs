//! What a template is compiled to: steps for a machine with a stack of values. Flat, as a tree costs more code to make, to
//! walk and to free than all that runs on it.

use crate::value::Value;

/// One step.
pub struct Op {
    /// Where what it is for stands in the text.
    pub at: u32,
    /// What it does.
    pub is: Is,
    /// A step's number to go on with, a count, an index; see `Is`.
    pub n: u32,
}

/// What a step does. X and Y are the topmost values, Y above X; they are taken, and what is made of them is put there.
#[derive(Clone, Copy)]
pub enum Is {
    /// Prints the text from `at` to `n`.
    Text,
    /// Prints X.
    Print,
    /// Puts constant `n` there.
    Constant,
    /// Puts variable `n` there, counted from the outermost loop's.
    Variable,
    /// Puts `data`, `altdata` or `watched` there.
    Name,
    /// Makes an array of `n` values.
    List,
    /// `JSON.parse(X)`.
    Parse,
    /// `JSON.pretty_generate(X)`.
    Pretty,
    /// `X[Y]`.
    Index,
    /// Method `n & 255` of what stands below its `n >> 8` arguments.
    Method,
    /// `!X`.
    Not,
    /// `X == Y`; `n` is the operator's first character.
    Compare,
    /// Goes on at `n`.
    Jump,
    /// Goes on at `n` if X is false; with `Unless`, if it is true.
    If,
    /// See `If`.
    Unless,
    /// If X is false it stays, and the work goes on at `n`; with `Or`, if it is true.
    And,
    /// See `And`.
    Or,
    /// Begins a loop over X with `n` variables.
    Each,
    /// Gives the variables the next element, or ends the loop and goes on at `n`.
    Next,
}

/// A compiled template.
#[derive(Default)]
pub struct Ops {
    /// The steps.
    pub ops: Vec<Op>,
    /// Its literals.
    pub constants: Vec<Value>,
}

impl Ops {
    /// Adds a step and gives its number.
    #[inline(never)]
    pub fn add(&mut self, at: usize, is: Is, n: usize) -> usize {
        let short = |n| u32::try_from(n).unwrap_or(u32::MAX);
        self.ops.push(Op { at: short(at), is, n: short(n) });
        self.ops.len() - 1
    }
    /// Lets a step that was added go on with the one that comes next.
    #[inline(never)]
    pub fn land(&mut self, step: usize) {
        let here = u32::try_from(self.ops.len()).unwrap_or(u32::MAX);
        if let Some(op) = self.ops.get_mut(step) {
            op.n = here;
        }
    }
    /// Adds a literal.
    #[inline(never)]
    pub fn constant(&mut self, at: usize, value: Value) {
        self.constants.push(value);
        self.add(at, Is::Constant, self.constants.len() - 1);
    }
}
