//! Nodes that a provider takes in, the partitions in which it gets them out: the waves of ONNX Runtime's
//! `CreateSupportedPartitions`, without its quantization groups. A partition holds nodes that can run together: no path
//! from one of them to another leads through a node that is not taken.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::lowering::onnx::proto::{GraphProto, NodeProto};

/// Operators that a partition must not consist of alone: the provider gives it back.
const TRIVIAL: [&str; 9] =
    ["Cast", "Ceil", "Flatten", "Identity", "Reshape", "Squeeze", "Tile", "Transpose", "Unsqueeze"];

/// Groups the nodes for which `taken` is true; each group by indices into `nodes`, in the order of execution.
pub fn partitions(nodes: &[&NodeProto], taken: &[bool]) -> Vec<Vec<usize>> {
    let consumers = consumers(nodes);
    let mut waits_for = vec![0_usize; nodes.len()];
    consumers.iter().flatten().for_each(|consumer| waits_for[*consumer] += 1);

    let mut ready: VecDeque<usize> = (0..nodes.len()).filter(|node| waits_for[*node] == 0).collect();
    let mut next_wave = VecDeque::new();
    let mut groups = Vec::new();
    let mut group = Vec::new();
    // Nodes that consume what the group makes. One that is not taken has to wait until the group has run.
    let mut border: HashSet<usize> = HashSet::new();
    loop {
        let Some(node) = ready.pop_front() else {
            if !group.is_empty() {
                groups.push(std::mem::take(&mut group));
            }
            border.clear();
            if next_wave.is_empty() {
                return groups;
            }
            ready = std::mem::take(&mut next_wave);
            continue;
        };
        if taken[node] {
            group.push(node);
            border.extend(&consumers[node]);
        } else if border.contains(&node) {
            next_wave.push_back(node);
            continue;
        }
        for consumer in &consumers[node] {
            waits_for[*consumer] -= 1;
            if waits_for[*consumer] == 0 {
                ready.push_back(*consumer);
            }
        }
    }
}

/// Whether a provider gives the partition back.
pub fn is_trivial(nodes: &[&NodeProto], partition: &[usize]) -> bool {
    partition.iter().all(|index| TRIVIAL.contains(&nodes[*index].op_type.as_str()))
}

/// For each node, those that consume an output of it, each once. What a subgraph takes from outside counts for its node.
fn consumers(nodes: &[&NodeProto]) -> Vec<Vec<usize>> {
    let outputs = |(index, node): (usize, &&NodeProto)| {
        node.output.iter().filter(|name| !name.is_empty()).map(|name| (name.clone(), index)).collect::<Vec<_>>()
    };
    let producers: HashMap<String, usize> = nodes.iter().enumerate().flat_map(outputs).collect();
    let mut consumers = vec![Vec::new(); nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        let mut names = Vec::new();
        names_read(node, &mut names);
        let distinct: HashSet<usize> = names.into_iter().filter_map(|name| producers.get(name).copied()).collect();
        let mut distinct: Vec<usize> = distinct.into_iter().collect();
        distinct.sort_unstable();
        distinct.into_iter().for_each(|producer| consumers[producer].push(index));
    }
    consumers
}

/// Every name that a node or a subgraph of it reads. Names that a subgraph makes itself are read along: ONNX forbids
/// that one of them is a name of the graph around it.
fn names_read<'g>(node: &'g NodeProto, names: &mut Vec<&'g str>) {
    names.extend(node.input.iter().map(String::as_str));
    for graph in subgraphs(node) {
        graph.node.iter().for_each(|inner| names_read(inner, names));
        names.extend(graph.output.iter().map(|output| output.name.as_str()));
    }
}

/// The graphs in a node's attributes: branches of an `If`, bodies of a `Loop` or `Scan`.
pub fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes from lines such as `"b <- a x"`; those whose name begins with `!` are not taken.
    fn grouped(lines: &[&str]) -> Vec<Vec<String>> {
        let owned: Vec<NodeProto> = lines
            .iter()
            .map(|line| {
                let (output, inputs) = line.split_once("<-").unwrap();
                NodeProto {
                    output: vec![output.trim().to_owned()],
                    input: inputs.split_whitespace().map(str::to_owned).collect(),
                    ..Default::default()
                }
            })
            .collect();
        let nodes: Vec<&NodeProto> = owned.iter().collect();
        let taken: Vec<bool> = owned.iter().map(|node| !node.output[0].starts_with('!')).collect();
        let named = |group: Vec<usize>| group.into_iter().map(|index| owned[index].output[0].clone()).collect();
        partitions(&nodes, &taken).into_iter().map(named).collect()
    }

    #[test]
    fn what_can_run_together_is_one_partition() {
        assert_eq!(grouped(&["a <- x", "b <- a", "c <- b a"]), [["a", "b", "c"]]);
        // Not connected, and still one partition.
        assert_eq!(grouped(&["a <- x", "b <- y"]), [["a", "b"]]);
        // What is not taken comes first: the partition follows it whole.
        assert_eq!(grouped(&["!u <- x", "a <- !u", "b <- y"]), [["b", "a"]]);
        assert_eq!(grouped(&["!u <- x", "!v <- !u"]), Vec::<Vec<String>>::new());
    }

    #[test]
    fn a_node_in_the_middle_that_is_not_taken_splits() {
        assert_eq!(grouped(&["a <- x", "!u <- a", "b <- !u"]), [["a"], ["b"]]);
        // A bypass does not join the halves: b waits for what is not taken.
        assert_eq!(grouped(&["a <- x", "!u <- a", "b <- a !u", "c <- a"]), [vec!["a", "c"], vec!["b"]]);
        // Two in parallel that are not taken cost one split, two in a row with something between them two.
        assert_eq!(grouped(&["a <- x", "!u <- a", "!v <- a", "b <- !u !v"]), [["a"], ["b"]]);
        assert_eq!(grouped(&["a <- x", "!u <- a", "b <- !u", "!v <- b", "c <- !v"]), [["a"], ["b"], ["c"]]);
    }

    #[test]
    fn order_in_the_file_does_not_matter_and_a_circle_ends() {
        assert_eq!(grouped(&["c <- b", "b <- a", "a <- x"]), [["a", "b", "c"]]);
        assert_eq!(grouped(&["a <- b", "b <- a", "c <- x"]), [["c"]]);
    }
}

#[cfg(test)]
mod properties {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Nodes that read what earlier ones make, and whether each is taken.
    fn graph() -> impl Strategy<Value = (Vec<Vec<usize>>, Vec<bool>)> {
        (0_usize..14).prop_flat_map(|count| {
            let reads: Vec<_> = (0..count).map(|node| vec(0..node.max(1), 0..3.min(node + 1))).collect();
            let reads = reads.prop_map(|all| {
                all.into_iter().enumerate().map(|(node, read)| if node == 0 { Vec::new() } else { read }).collect()
            });
            (reads, vec(any::<bool>(), count))
        })
    }

    fn named(reads: &[Vec<usize>]) -> Vec<NodeProto> {
        let name = |node: &usize| format!("v{node}");
        let node = |(index, read): (usize, &Vec<usize>)| NodeProto {
            input: read.iter().map(name).collect(),
            output: vec![name(&index)],
            ..Default::default()
        };
        reads.iter().enumerate().map(node).collect()
    }

    proptest! {
        #[test]
        fn taken_nodes_once_each_and_nothing_between((reads, taken) in graph()) {
            let owned = named(&reads);
            let groups = partitions(&owned.iter().collect::<Vec<_>>(), &taken);
            prop_assert!(groups.iter().all(|group| !group.is_empty()));
            let mut grouped: Vec<usize> = groups.iter().flatten().copied().collect();
            let mut of_node = vec![None; reads.len()];
            for (group, members) in groups.iter().enumerate() {
                members.iter().for_each(|&node| of_node[node] = Some(group));
                for (place, node) in members.iter().enumerate() {
                    let early = reads[*node].iter().all(|read| !members[place..].contains(read));
                    prop_assert!(early, "{} comes before what it reads in {:?}", node, members);
                }
            }
            grouped.sort_unstable();
            prop_assert_eq!(grouped, (0..reads.len()).filter(|node| taken[*node]).collect::<Vec<_>>());
            // Each group, and each node outside of them, is one step; the steps must have an order.
            let step = |node: usize| of_node[node].unwrap_or(groups.len() + node);
            let mut waits: Vec<HashSet<usize>> = vec![HashSet::new(); groups.len() + reads.len()];
            for (node, read) in reads.iter().enumerate() {
                waits[step(node)].extend(read.iter().map(|&read| step(read)).filter(|&other| other != step(node)));
            }
            let mut done = HashSet::new();
            while let Some(next) = (0..waits.len()).find(|one| !done.contains(one) && waits[*one].is_subset(&done)) {
                done.insert(next);
            }
            prop_assert_eq!(done.len(), waits.len(), "a path leaves a group and comes back");
            // With all of them taken, there is one.
            let all = partitions(&owned.iter().collect::<Vec<_>>(), &vec![true; reads.len()]);
            prop_assert_eq!(all.len(), usize::from(!reads.is_empty()));
        }
    }
}
