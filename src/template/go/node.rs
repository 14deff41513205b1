//! The tree a template is parsed into, and how its parts print in messages (as Go's nodes do).

use super::number::Number;
use crate::template::funcs::Func;
use crate::text;
use crate::value::Value;

/// A part of a template.
pub struct Node {
    /// Where it stands in the text, in bytes: what Go's messages count from.
    pub pos: usize,
    /// What it is.
    pub is: Is,
}

/// How nodes are held: a pointer is what a parser can hand on for little.
pub type Tree = Box<Node>;

/// A node in its place.
#[inline(never)]
pub fn tree(pos: usize, is: Is) -> Tree {
    Box::new(Node { pos, is })
}

/// One pipeline and what runs under it.
pub struct Arm {
    /// The pipeline.
    pub pipe: Tree,
    /// What runs.
    pub list: Vec<Tree>,
}

/// What a node is.
pub enum Is {
    /// Text as it stands.
    Text(Box<str>),
    /// `{{pipeline}}`.
    Action(Tree),
    /// `if` (or, with `true`, `with`) and its `else if`s: the first true arm runs, or else the list.
    Choice(bool, Vec<Arm>, Option<Vec<Tree>>),
    /// `range`, and its `else`.
    Range(Box<Arm>, Option<Vec<Tree>>),
    /// `{{template "name" pipeline}}`.
    Template(Box<str>, Option<Tree>),
    /// `{{break}}`.
    Break,
    /// `{{continue}}`.
    Continue,
    /// Commands joined by `|`.
    Pipe(Pipe),
    /// A word and its arguments.
    Command(Vec<Tree>),
    /// A function.
    Function(&'static Func),
    /// `.`.
    Dot,
    /// `nil`.
    Nil,
    /// `.A.B`.
    Field(Vec<Box<str>>),
    /// `$x.A.B`: the name with its `$`, then fields.
    Variable(Vec<Box<str>>),
    /// A term followed by fields: `(pipeline).A.B`.
    Chain(Tree, Vec<Box<str>>),
    /// `true`, `false`.
    Bool(bool),
    /// A number as it was written, and its values.
    Number(Box<str>, Number),
    /// A string as it was written, and its value.
    Str(Box<str>, Value),
}

/// A pipeline.
pub struct Pipe {
    /// `=` rather than `:=`.
    pub assign: bool,
    /// The variables it declares or assigns.
    pub vars: Vec<Box<str>>,
    /// Its commands, each a `Command`.
    pub commands: Vec<Tree>,
}

fn fields(out: &mut String, names: &[Box<str>]) {
    for name in names {
        out.push('.');
        out.push_str(name);
    }
}

/// A pipeline that stands as an argument or under fields has parentheses.
fn operand(out: &mut String, node: &Node) {
    if matches!(node.is, Is::Pipe(_)) {
        out.push('(');
        write(out, node);
        out.push(')');
    } else {
        write(out, node);
    }
}

/// Appends the node as Go prints it. Only nodes that can stand in a message are written out.
pub fn write(out: &mut String, node: &Node) {
    match &node.is {
        Is::Action(pipe) => {
            out.push_str("{{");
            write(out, pipe);
            out.push_str("}}");
        }
        Is::Template(name, pipe) => {
            out.push_str("{{template ");
            out.push_str(&text::quoted(name));
            if let Some(pipe) = pipe {
                out.push(' ');
                write(out, pipe);
            }
            out.push_str("}}");
        }
        Is::Pipe(pipe) => {
            for (i, name) in pipe.vars.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                out.push_str(name);
            }
            if !pipe.vars.is_empty() {
                out.push_str(if pipe.assign { " = " } else { " := " });
            }
            for (i, command) in pipe.commands.iter().enumerate() {
                out.push_str(if i > 0 { " | " } else { "" });
                write(out, command);
            }
        }
        Is::Command(args) => {
            for (i, arg) in args.iter().enumerate() {
                out.push_str(if i > 0 { " " } else { "" });
                operand(out, arg);
            }
        }
        Is::Function(f) => out.push_str(f.name),
        Is::Dot => out.push('.'),
        Is::Nil => out.push_str("nil"),
        Is::Field(names) => fields(out, names),
        Is::Variable(names) => {
            let (first, rest) = names.split_first().map_or(("", &[][..]), |(f, r)| (&**f, r));
            out.push_str(first);
            fields(out, rest);
        }
        Is::Chain(node, names) => {
            operand(out, node);
            fields(out, names);
        }
        Is::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Is::Number(text, _) | Is::Str(text, _) => out.push_str(text),
        Is::Text(text) => out.push_str(text),
        Is::Break => out.push_str("{{break}}"),
        Is::Continue => out.push_str("{{continue}}"),
        Is::Choice(..) => out.push_str("{{if}}"),
        Is::Range(..) => out.push_str("{{range}}"),
    }
}

/// Whether a list holds nothing but space: such a definition gives way to another of the same name.
pub fn is_empty(list: &[Tree]) -> bool {
    list.iter().all(|n| matches!(&n.is, Is::Text(t) if t.trim().is_empty()))
}
