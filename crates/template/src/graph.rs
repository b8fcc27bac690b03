//! Dependencies: what must be there before what.

/// One member of a circle, if there is any. `edges[i]`: what i waits for.
pub(crate) fn circle(edges: &[Vec<usize>]) -> Option<usize> {
    let mut waiting: Vec<usize> = edges.iter().map(Vec::len).collect();
    let mut followers = vec![Vec::new(); edges.len()];
    for (from, all) in edges.iter().enumerate() {
        for to in all {
            followers[*to].push(from);
        }
    }
    let mut free: Vec<usize> = (0..edges.len()).filter(|i| waiting[*i] == 0).collect();
    let mut done = 0;
    while let Some(at) = free.pop() {
        done += 1;
        for follower in &followers[at] {
            waiting[*follower] -= 1;
            if waiting[*follower] == 0 {
                free.push(*follower);
            }
        }
    }
    if done == edges.len() {
        return None;
    }
    // what is left waits for a circle or is in one: walking back along what is waited for ends in one
    let mut at = (0..edges.len()).find(|i| waiting[*i] > 0)?;
    for _ in 0..edges.len() {
        at = edges[at].iter().copied().find(|to| waiting[*to] > 0)?;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::circle;

    #[test]
    fn finds_circles() {
        assert_eq!(circle(&[vec![], vec![0], vec![0, 1]]), None);
        assert_eq!(circle(&[vec![0]]), Some(0));
        let found = circle(&[vec![1], vec![2], vec![1], vec![]]).unwrap();
        assert!(found == 1 || found == 2);
    }
}
