//! Identifies the services of a plan.

use std::ops::{Index, IndexMut};

/// A service of the plan, by its position in start order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceId(usize);

impl ServiceId {
    pub fn new(position: usize) -> Self {
        Self(position)
    }

    /// The position in start order.
    pub fn position(self) -> usize {
        self.0
    }
}

/// One value for each service of a plan, in start order.
#[derive(Clone, Debug)]
pub struct PerService<T>(Vec<T>);

impl<T> PerService<T> {
    pub fn new(values: Vec<T>) -> Self {
        Self(values)
    }

    /// Maps the value of each service.
    pub fn map<U>(&self, value: impl FnMut(&T) -> U) -> PerService<U> {
        PerService(self.0.iter().map(value).collect())
    }

    pub fn ids(&self) -> impl Iterator<Item = ServiceId> + use<T> {
        (0..self.0.len()).map(ServiceId)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.0.iter_mut()
    }
}

impl<T> Index<ServiceId> for PerService<T> {
    type Output = T;

    fn index(&self, id: ServiceId) -> &T {
        &self.0[id.0]
    }
}

impl<T> IndexMut<ServiceId> for PerService<T> {
    fn index_mut(&mut self, id: ServiceId) -> &mut T {
        &mut self.0[id.0]
    }
}

impl<'a, T> IntoIterator for &'a PerService<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
