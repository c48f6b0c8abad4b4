//! Making a modelled pool: as the product does, but without memory of the machine, and with numbers given by the model.
//! (The product counts them up for the life of the process; a model is run too often for that.)

use super::free::FreeLists;
use super::plan::PoolPlan;
use super::returns::ReturnPort;
use super::slab::Slab;
use super::slots::Pool;
use super::ticket::Mark;
use crate::event::ShardId;
use crate::ring_model::RingBuffer;
use std::num::NonZeroU16;
use std::sync::Arc;

impl Pool {
    /// The pool of shard `owner`; its number is made of that, so no two pools of a model may share an owner.
    pub fn model(plan: &PoolPlan, owner: ShardId) -> Pool {
        let pool = NonZeroU16::MIN.saturating_add(u16::from(owner.0));
        Pool {
            slab: Arc::new(Slab::new(plan)),
            mark: Mark::new(pool, owner),
            free: FreeLists::full(plan),
            returns: Vec::new(),
            slots: plan.total().expect("a model is small"),
        }
    }

    /// As in the product.
    pub fn attach(&mut self) -> ReturnPort {
        let (producer, consumer) = RingBuffer::new(self.slots as usize);
        self.returns.push(consumer);
        ReturnPort::new(producer, self.mark)
    }
}
