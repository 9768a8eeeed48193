#if CommandLine
  @main
  struct Main {
    static func main() async {}
  }
#else
  @main
  struct Main {
    static func main() { print("keycustody was built without its trait CommandLine.") }
  }
#endif
