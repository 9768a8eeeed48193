import Foundation
import Hummingbird
import HummingbirdTLS
import KeyCustody
import KeyCustodyMemory
import KeyCustodyServer
import KeyCustodyServices
import KeyCustodyVault
import NIOSSL

// A vault, and a client that may make keys in it and wrap with them.
let configuration = KeyCustodyConfiguration([
  "keyProviders": ["keys": ["plugin": "memory"]], "policyStores": ["records": ["plugin": "memory"]],
  "service": ["keyProvider": "keys", "policyStore": "records"], "vaults": ["domain": "vault.localhost:8444"],
])
let custody = try await KeyCustody.open(configuration, plugins: [MemoryPlugin().plugin])
let (contoso, orders) = (try TenantID("contoso"), try VaultName("orders"))
try await custody.vaults.create(
  VaultDefinition(name: orders, tenant: contoso, region: custody.region, keyProvider: "keys"))
let shop = PrincipalID(tenant: contoso, subject: try SubjectID("shop"))
try await custody.identities.create(shop, kind: .servicePrincipal)
try await custody.vaults.setRule(
  AccessRule(name: "shop", principal: shop, keys: [.create, .get, .wrapKey, .unwrapKey]), in: orders)
let secret = try await custody.identities.issueClientSecret(for: shop, expires: nil)
try Data(secret.utf8).write(to: URL(filePath: "secret"))

// The application answers what is for its own host, and the vaults what is for theirs.
let router = Router(context: VaultRequestContext.self)
router.add(middleware: VaultMiddleware(try VaultServer(custody, settings: ServerSettings(tenant: contoso))))
router.get("hello") { _, _ in "hello from the application" }

let certificate = try NIOSSLCertificate.fromPEMFile("server.pem").map { NIOSSLCertificateSource.certificate($0) }
let key = NIOSSLPrivateKeySource.privateKey(try NIOSSLPrivateKey(file: "server-key.pem", format: .pem))
var application = Application(
  router: router,
  server: try .tls(
    tlsConfiguration: .makeServerConfiguration(certificateChain: certificate, privateKey: key)),
  configuration: ApplicationConfiguration(address: .hostname("127.0.0.1", port: 8444)))
// Rotations that are due, and the purging of what was deleted long enough ago.
application.addServices(VaultUpkeep(custody))
try await application.runService()
await custody.close()
