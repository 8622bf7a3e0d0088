"""Results in KTAP, for programs that look at compiled code."""


def tell(results):
    """Print RESULTS, each of which is (good, name, remarks); the exit code."""
    print("TAP version 13")
    print(f"1..{len(results)}")
    for number, (good, name, remarks) in enumerate(results, 1):
        print(f"{'' if good else 'not '}ok {number} {name}")
        for remark in remarks:
            print(f"# {remark}")
    return int(not all(good for good, _, _ in results))
