//! What a pickle of tensors is made of.

use std::cell::RefCell;
use std::rc::Rc;

use safetensors::tensor::Dtype;

/// Containers in containers at most: a state dictionary needs four, and each level costs stack when it is let go.
const DEEPEST: usize = 32;

/// The entries of a dictionary, in order.
pub type Entries = Rc<RefCell<Vec<(Value, Value)>>>;

/// A value on the machine's stack. Copies share what they hold.
#[derive(Debug, Clone)]
pub enum Value {
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
    Tuple(Rc<[Value]>, usize),
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

impl Value {
    /// A tuple of these items, unless it nests too deep.
    pub fn tuple(items: Vec<Value>) -> Result<Self, String> {
        let depth = 1 + items.iter().map(Value::depth).max().unwrap_or(0);
        if depth > DEEPEST {
            return Err(format!("containers nest more than {DEEPEST} deep"));
        }
        Ok(Value::Tuple(items.into(), depth))
    }

    /// How deep containers nest. Dictionaries take no dictionaries, so that they count as one.
    fn depth(&self) -> usize {
        match self {
            Value::Tuple(_, depth) => *depth,
            Value::Dictionary(_) => DEEPEST / 2,
            Value::None
            | Value::Flag
            | Value::Integer(_)
            | Value::Float
            | Value::Text(_)
            | Value::List
            | Value::Global(_)
            | Value::Storage(_)
            | Value::Tensor(_) => 0,
        }
    }

    /// What it is, for errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Flag => "a bool",
            Value::Integer(_) => "an integer",
            Value::Float => "a float",
            Value::Text(_) => "a string",
            Value::Tuple(..) => "a tuple",
            Value::List => "a list",
            Value::Dictionary(_) => "a dictionary",
            Value::Global(_) => "a function or class",
            Value::Storage(_) => "a storage",
            Value::Tensor(_) => "a tensor",
        }
    }

    /// A whole number of 0 or more.
    pub fn count(&self) -> Result<u64, String> {
        match self {
            Value::Integer(number) if *number >= 0 => Ok(number.unsigned_abs()),
            Value::Integer(number) => Err(format!("{number} where a size is expected")),
            other => Err(format!("{} where a size is expected", other.kind())),
        }
    }

    /// A tuple's whole numbers.
    pub fn counts(&self) -> Result<Vec<u64>, String> {
        match self {
            Value::Tuple(items, _) => items.iter().map(Value::count).collect(),
            other => Err(format!("{} where a shape is expected", other.kind())),
        }
    }
}
