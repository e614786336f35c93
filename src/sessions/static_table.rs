//! Batches in, the means of their tokens' vectors out: no graph, no padding. One thread: the sums of a batch take less
//! time than starting another would, and the next window is tokenized meanwhile.

use std::sync::Arc;

use super::session::{Call, Facts, Session};
use crate::batches::plan::PaddedBatch;
use crate::checkpoint::held::HeldFiles;
use crate::checkpoint::pooling::PoolingMode;
use crate::checkpoint::static_table::StaticTable;
use crate::error::{Error, Result};
use crate::options::Provider;

/// A table, ready to be read.
pub struct StaticTableSession {
    table: Arc<StaticTable>,
    facts: Facts,
}

impl StaticTableSession {
    /// Refused: what a table cannot be run on.
    pub fn open(table: &Arc<StaticTable>, pooling: Vec<PoolingMode>, provider: Provider) -> Result<Self> {
        match provider {
            Provider::Auto | Provider::Cpu => {}
            Provider::Cuda | Provider::CoreMl | Provider::CoreMlOnCpu => {
                return Err(Error::ProviderFailed {
                    asked: provider.name().to_owned(),
                    problem: "the model is a static table, which has no graph to run".to_owned(),
                });
            }
        }
        let mut files = HeldFiles::new(table.weights().held_files()?, false)?;
        files.settle()?;
        let facts = Facts::new(provider, pooling, table.width(), files);
        Ok(StaticTableSession { table: Arc::clone(table), facts })
    }
}

impl Session for StaticTableSession {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn compute(&self, batch: &PaddedBatch, _call: &mut Call<'_>, take: &mut dyn FnMut(&[f32])) -> Result<()> {
        let width = self.table.width();
        let mut means = vec![0.0; batch.rows * width];
        let rows = batch.input_ids.chunks_exact(batch.length.max(1)).zip(&batch.lengths);
        for ((ids, &length), mean) in rows.zip(means.chunks_exact_mut(width)) {
            self.table.mean(&ids[..length], mean);
        }
        take(&means);
        Ok(())
    }
}
