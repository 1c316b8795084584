//! What is left to do, shared by the threads of a walk.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::folder::Folder;
use super::rules::Rules;

/// A piece of work.
pub(super) enum Task {
    /// A folder that was met, and the rules of the one that it lies in.
    Open(PathBuf, Option<Arc<Rules>>),
    /// A folder that is not listed to its end.
    List(Arc<Folder>),
}

/// Folders that have to be opened, and those that were.
#[derive(Default)]
pub(super) struct Queue {
    tasks: Mutex<Tasks>,
    is_changed: Condvar,
}

#[derive(Default)]
struct Tasks {
    open: Vec<(PathBuf, Option<Arc<Rules>>)>,
    list: Vec<Arc<Folder>>,
    /// How many are being done, which may lead to more.
    running: usize,
}

/// Shows that a task is being done, until it is dropped.
pub(super) struct Running<'q>(&'q Queue);

impl Queue {
    pub(super) fn add(&self, task: Task) {
        let mut tasks = self.lock();
        match task {
            Task::Open(path, rules) => tasks.open.push((path, rules)),
            Task::List(folder) => tasks.list.push(folder),
        }
        drop(tasks);
        self.is_changed.notify_one();
    }

    /// Takes a task, and waits for one if need be; `None` once everything is done.
    pub(super) fn take(&self) -> Option<(Task, Running<'_>)> {
        let mut tasks = self.lock();
        loop {
            if let Some(task) = tasks.next() {
                tasks.running += 1;
                return Some((task, Running(self)));
            }
            if tasks.running == 0 {
                return None;
            }
            tasks = self.is_changed.wait(tasks).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tasks {
    /// An open folder comes first, however many are waiting: so no more are open than there are
    /// threads to list them.
    fn next(&mut self) -> Option<Task> {
        if let Some(folder) = self.list.pop() {
            return Some(Task::List(folder));
        }
        self.open.pop().map(|(path, rules)| Task::Open(path, rules))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut tasks = self.0.lock();
        tasks.running -= 1;
        if tasks.running == 0 {
            self.0.is_changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::{Queue, Task};

    fn add(queue: &Queue, depth: u32) {
        queue.add(Task::Open(depth.to_string().into(), None));
    }

    fn depth(task: &Task) -> u32 {
        let Task::Open(path, _) = task else { panic!("nothing was opened") };
        path.to_str().unwrap().parse().unwrap()
    }

    #[test]
    fn what_leads_to_more_is_done_by_all_and_ends_for_all() {
        let queue = Queue::default();
        let work = || {
            let mut done = 0;
            while let Some((task, _running)) = queue.take() {
                let depth = depth(&task);
                (0..depth.min(2)).for_each(|_| add(&queue, depth - 1));
                done += 1;
            }
            done
        };
        assert_eq!(work(), 0);
        add(&queue, 9);
        let done: u32 = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(done, (1..=9).map(|level| 1 << (9 - level)).sum::<u32>() + (1 << 8));
    }

    #[test]
    fn nobody_waits_for_a_thread_that_panicked() {
        let queue = Queue::default();
        add(&queue, 0);
        thread::scope(|scope| {
            let (task, running) = queue.take().unwrap();
            let other = scope.spawn(|| queue.take().is_none());
            let panics = scope.spawn(move || {
                let _running = running;
                assert_eq!(depth(&task), 1, "on purpose");
            });
            assert!(panics.join().is_err());
            assert!(other.join().unwrap());
        });
    }
}
