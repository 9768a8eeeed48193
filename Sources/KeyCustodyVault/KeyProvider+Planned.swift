import KeyCustody

extension KeyProvider {
  /// Makes a key whose name was recorded before, or finds the one that was made before a crash or by somebody else.
  func generatePlanned(
    _ request: GenerateKeyRequest, context: CallContext
  ) async throws(KeyCustodyError) -> KeyDescription {
    do throws(KeyCustodyError) { return try await describe(request.version, context: context) } catch {
      guard error.code == .notFound else { throw error }
    }
    do throws(KeyCustodyError) { return try await generate(request, context: context) } catch {
      guard error.reason == .alreadyExists else { throw error }
      return try await describe(request.version, context: context)
    }
  }
}
