//! What a pickle of tensors is made of.

use std::cell::RefCell;
use std::rc::Rc;

use safetensors::tensor::Dtype;

/// Containers in containers at most: a state dictionary needs four, and each level costs stack when it is let go.
const DEEPEST: usize = 32;

/// The entries of a dictionary, in order.
pub type Entries = Rc<RefCell<Vec<(Item, Item)>>>;

/// A value on the machine's stack. Copies share what they hold.
#[derive(Debug, Clone)]
pub enum Item {
    /// `None`.
    None,
    /// `True`, `False`.
    Flag,
    /// An integer.
    Integer(i64),
    /// A float; nothing of a state dictionary needs its value.
    Float,
    /// A str.
    Text(Rc<str>),
    /// A tuple, and how deep its items nest.
    Tuple(Rc<[Item]>, usize),
    /// A list: of nothing that is used.
    List,
    /// A dict or an OrderedDict.
    Dictionary(Entries),
    /// A function or class that the machine knows.
    Global(Global),
    /// A storage, by its persistent id.
    Storage(Rc<Storage>),
    /// A tensor over a storage.
    Tensor(Rc<StoredTensor>),
}

/// The globals that the machine knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Global {
    /// `collections.OrderedDict`.
    OrderedDictionary,
    /// `torch._utils._rebuild_tensor_v2`.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`.
    RebuildParameter,
    /// `torch.FloatStorage` and its kin.
    StorageType(Dtype),
}

/// Numbers in a member of the zip.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The member's name under `data/`.
    pub key: String,
    /// Their type.
    pub dtype: Dtype,
    /// How many.
    pub numbers: u64,
}

/// A tensor over a storage.
#[derive(Debug, Clone)]
pub struct StoredTensor {
    /// Its numbers.
    pub storage: Rc<Storage>,
    /// The first of them.
    pub offset: u64,
    /// Its shape.
    pub shape: Vec<u64>,
    /// Numbers from one element of an axis to the next.
    pub strides: Vec<u64>,
}

impl Global {
    /// The global of a module, if the machine knows it.
    pub fn named(module: &str, name: &str) -> Option<Self> {
        let dtype = |dtype| Some(Global::StorageType(dtype));
        match (module, name) {
            ("collections", "OrderedDict") => Some(Global::OrderedDictionary),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Global::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Some(Global::RebuildParameter),
            ("torch", "DoubleStorage") => dtype(Dtype::F64),
            ("torch", "FloatStorage") => dtype(Dtype::F32),
            ("torch", "HalfStorage") => dtype(Dtype::F16),
            ("torch", "BFloat16Storage") => dtype(Dtype::BF16),
            ("torch", "LongStorage") => dtype(Dtype::I64),
            ("torch", "IntStorage") => dtype(Dtype::I32),
            ("torch", "ShortStorage") => dtype(Dtype::I16),
            ("torch", "CharStorage") => dtype(Dtype::I8),
            ("torch", "ByteStorage") => dtype(Dtype::U8),
            ("torch", "BoolStorage") => dtype(Dtype::BOOL),
            _ => None,
        }
    }
}

impl Item {
    /// A tuple of these items, unless it nests too deep.
    pub fn tuple(items: Vec<Item>) -> Result<Self, String> {
        let depth = 1 + items.iter().map(Item::depth).max().unwrap_or(0);
        if depth > DEEPEST {
            return Err(format!("containers nest more than {DEEPEST} deep"));
        }
        Ok(Item::Tuple(items.into(), depth))
    }

    /// How deep containers nest. Dictionaries take no dictionaries, so that they count as one.
    fn depth(&self) -> usize {
        match self {
            Item::Tuple(_, depth) => *depth,
            Item::Dictionary(_) => DEEPEST / 2,
            Item::None
            | Item::Flag
            | Item::Integer(_)
            | Item::Float
            | Item::Text(_)
            | Item::List
            | Item::Global(_)
            | Item::Storage(_)
            | Item::Tensor(_) => 0,
        }
    }

    /// What it is, for errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Item::None => "None",
            Item::Flag => "a bool",
            Item::Integer(_) => "an integer",
            Item::Float => "a float",
            Item::Text(_) => "a string",
            Item::Tuple(..) => "a tuple",
            Item::List => "a list",
            Item::Dictionary(_) => "a dictionary",
            Item::Global(_) => "a function or class",
            Item::Storage(_) => "a storage",
            Item::Tensor(_) => "a tensor",
        }
    }

    /// A whole number of 0 or more.
    pub fn count(&self) -> Result<u64, String> {
        match self {
            Item::Integer(number) if *number >= 0 => Ok(number.unsigned_abs()),
            Item::Integer(number) => Err(format!("{number} where a size is expected")),
            other => Err(format!("{} where a size is expected", other.kind())),
        }
    }

    /// A tuple's whole numbers.
    pub fn counts(&self) -> Result<Vec<u64>, String> {
        match self {
            Item::Tuple(items, _) => items.iter().map(Item::count).collect(),
            other => Err(format!("{} where a shape is expected", other.kind())),
        }
    }
}
