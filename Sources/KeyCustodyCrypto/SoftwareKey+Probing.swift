package import KeyCustody

extension SoftwareKey {
  /// A key for trying what a library or a token does with keys of a type; it protects nothing.
  ///
  /// That of RSA is a fixed one: to make one takes half a second, and every command opens its key providers.
  ///
  /// - Throws: `unsupported` where the library refuses the type.
  package static func forProbing(_ type: KeyType, random: any RandomSource) throws(KeyCustodyError) -> SoftwareKey {
    guard type == .rsa(bits: 2048), let bytes = [UInt8](base64URL: rsaForProbing) else {
      return try generate(type, random: random)
    }
    return try read(SecretBytes(copying: bytes), as: type)
  }

  /// PKCS#8 DER in base64url; made for this line, and as public as it is.
  private static let rsaForProbing = """
    MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQCjhUZzkVaOxYMh4SEPXNpjsv1mvbh2SnnheIDzzuzp2gjT3Uhkdc9VHEoXGqiq\
    IWc_EzJn1PleSoT0pvTuKsem_-e3U4CejR6NxPq_tKo-iiy0ghhtUYCKrTwiqazXt-pcPsw-sqG2PN6U3gHunpqgMsWyJ-5Y7-jL3dRBwUzeue6x\
    GnkB-pfCNOWlenIymnEqzmaNxfesPVZAZ7t7Fu8mSV01VjoEOHCGzaSvlYdUMLIPI1Cl_iTcdG2rBJKlxUqVBbxtnGba7Vj08c5Lm_soGi4bQ6Fu\
    puLUM806xjXExYAcw3hvE9-fLeAN5xypns_4mN1_J1DCaLcxgUzgbN61AgMBAAECggEACTVi159CVfKe2omTEwpnl2BnuiF1Ad8FKMK11a-8J8SK\
    Orl7b4Iy6tgXqWAW9NMXaAtCC2wy9DG-IF5Gl3hRRgD4oO-oOUWOiEKk3FGQRMqt5HxvDmOd7tv9RvZx2rQWE_EgD2fVM4NksCglyQpQKuAGbMH9\
    lNnt14070XgmnA7v9uO5TUj_gHcZ4hO1HnMayMs_j0u_nGvX1lTJHqB8MYOqxy-AECtRVpvYOWhoCzPivYF6akMbAohxIhCL2I_e55pVw64DEyvg\
    iwm7twXg4zXhx2azuuky3NrXZHDlKYl5DVlmyFqeL2aMySooCgXTvoBBtnl0tIJeA6vIAbNwAQKBgQDjDTB10fCwGQN5YbGDeke1fn-OxvIS51lw\
    g9RbtKMP6tcicEbM1onDonyyVscm8qP_wF8e4sTa2Ow0aLex8aj7M42ClfU4U5JM9RHLzFNi-vUD75pel9xT6rXcdfCLuLPsvAtAri8mS0ph-61Q\
    EHcoUy9q4in_girhV6KektKPEQKBgQC4XnqlhbSr0FGhRQ_VC1wUvmL67f9AsB5sPqjebb161tTkML2JUSWxMpHEeswOX5y_KL1bHyQ05-q-cwQk\
    4YpnpgIG7ZZvjnUOHASJGox8K5DXffCgsUUp3i7ZJHHahp0799sTYJyAZswUqE-K1B-ryQTPAHgaRUzT89ODMc2dZQKBgAc1pwFGvk7JLIwRJxLW\
    sio4LxK4jH0_LV7eQML8tGTP_y7Pw9_DPDKjGTSMftxkvgJj-GFBsCCG3NE5NgQHeWcolui7nELCnJWm_n6rKUauU1Nhq1QvnEZp4IZ0lEPLhKMS\
    wYS3QzYDFASSekldjHsSUSIitlSvrG7lWnuQi_ERAoGAPBfHYAYJkmrPAIKTG3ydYcGAX4uNRBdjgyKVRhJ8zPoS3-GnFYfWgkAaVPE1a4XsgD4W\
    IgovcfMZh0PT2PWOeCQaywlLnEbRjmzBabK2kY5dom9RK_87rN7XZD1FwtVXkIFD7bfyqsNWx3DopDZpsENQBux_OQjXdsolacCk5SUCgYADtG_m\
    SYmcCMueG5QGKhG0gI2tR9fZbn8-zogedOJBeysPHnMtx3pXHhd-WTRHuBAJ2LKeyV3Nw1EjyNS481B_YdNBUQslMTJQDnFgsHqxMdbOgYbSzvYW\
    54M9BZxyh1Bw8--wqgocHysjn6zUwWgfQ6H6slv6TKrpGy3xKKKVTA
    """
}
