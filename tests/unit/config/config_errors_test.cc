// Every class of config mistake: the message names the place, the key, what was expected and what
// was found.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/unit/config/config_text.h"
#include <gtest/gtest.h>

namespace clara::test {
namespace {

TEST(ConfigErrors, AMinimalConfigOfEachStageHasNone) {
  for (const std::string stage : {"scp", "tune", "joint", "retriever"}) {
    EXPECT_EQ(error_of(minimal_config(stage)), "") << stage;
  }
  EXPECT_EQ(error_of(full_joint_config()), "");
}

TEST(ConfigErrors, AllMistakesAreReportedAtOnceInFileOrderThenAssignments) {
  const std::string text =
      "stage: joint\n"            // 1
      "model:\n"                  // 2
      "  base: models/base\n"     // 3
      "  compression_rate: 24\n"  // 4
      "data:\n"                   // 5
      "  train: [train.jsonl]\n"  // 6
      "trainer:\n"                // 7
      "  schedule: linear\n"      // 8
      "  rows_per_stp: 3\n"       // 9
      "  rows_per_step: 1.5\n";   // 10
  EXPECT_EQ(
      error_of(text, {.stage = {},
                      .assignments = {"trainer.seed=x", "nonsense", "logging.tensorboard=1"}}),
      "run.yaml:4: model.compression_rate: expected a rate that divides model.doc_max_tokens = 256 "
      "(1, 2, 4, 8, 16, 32, 64, 128, 256), found 24\n"
      "run.yaml:8: trainer.schedule: expected one of cosine, constant, found linear\n"
      "run.yaml:9: trainer.rows_per_stp: unknown key (did you mean trainer.rows_per_step?)\n"
      "run.yaml:10: trainer.rows_per_step: expected an integer >= 1, found 1.5\n"
      "run.yaml: output.folder: required key is missing (The run folder.)\n"
      "--set trainer.seed: expected an integer >= 0, found x\n"
      "--set nonsense: expected key.path=value, found nonsense\n"
      "--set logging.tensorboard: expected true or false, found 1");
}

TEST(ConfigErrors, UnknownKeysGetTheNearestKnownKey) {
  const auto suggestion = [](const std::string& assignment) {
    const std::string error = error_of_set("joint", {assignment});
    const std::size_t start = error.find("(did you mean ");
    return start == std::string::npos ? error : error.substr(start);
  };
  EXPECT_EQ(suggestion("trainer.rows_per_stp=1"), "(did you mean trainer.rows_per_step?)");
  EXPECT_EQ(suggestion("trainr.seed=1"), "(did you mean trainer.seed?)");
  EXPECT_EQ(suggestion("trainr={seed: 1}"), "(did you mean trainer?)");
  EXPECT_EQ(suggestion("model.lora.rnk=1"), "(did you mean model.lora.rank?)");
  EXPECT_EQ(suggestion("output.keep_best.metrc=a"), "(did you mean output.keep_best.metric?)");
  EXPECT_EQ(suggestion("data.train.0.pth=a"), "(did you mean data.train.0.path?)");
  EXPECT_EQ(suggestion("trainer.seed.x=1"),
            "--set trainer.seed.x: unknown key (trainer.seed is a single value)");
}

TEST(ConfigErrors, AKeyInTheWrongSectionIsSentToItsOwn) {
  EXPECT_EQ(error_of(minimal_config("scp") + "temperature: 1\n"),
            "run.yaml:7: temperature: unknown key (did you mean objective.temperature?)");
  EXPECT_EQ(error_of_set("scp", {"model.rank=4"}),
            "--set model.rank: unknown key (did you mean model.lora.rank?)");
}

TEST(ConfigErrors, AKeyNearNothingGetsTheKeysOfItsSection) {
  EXPECT_EQ(error_of_set("scp", {"logging.zzzzzz=4"}),
            "--set logging.zzzzzz: unknown key (keys of logging: every_steps, tensorboard)");
  EXPECT_EQ(error_of_set("scp", {"qqqqqq.zzzzzz=4"}),
            "--set qqqqqq.zzzzzz: unknown key (keys of the top level: stage, model, data, "
            "objective, trainer, output, logging, parallel)");
  EXPECT_EQ(error_of_set("scp", {"data.train.0.zzzzzzzz=4"}),
            "--set data.train.0.zzzzzzzz: unknown key (keys of data.train.0: path, weight, "
            "max_rows)");
}

TEST(ConfigErrors, ADottedKeyInAFileIsUnknown) {
  EXPECT_EQ(error_of(minimal_config("scp") + "trainer.seed: 1\n"),
            "run.yaml:7: trainer.seed: unknown key (did you mean trainer.seed?)");
}

TEST(ConfigErrors, DuplicateKeysNameTheFirstLine) {
  EXPECT_EQ(error_of(minimal_config("scp") + "trainer:\n  seed: 1\n  num_epochs: 2\n  seed: 2\n"),
            "run.yaml:10: trainer.seed: duplicate key (first in run.yaml:8; keep one of them)");
  EXPECT_EQ(error_of(minimal_config("scp") + "model: {base: b}\n"),
            "run.yaml:7: model: duplicate key (first in run.yaml:2; keep one of them)");
}

TEST(ConfigErrors, WrongTypesSayWhatWasExpectedAndFound) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      // integers
      {"trainer.num_epochs=two", "expected an integer >= 1, found two"},
      {"trainer.num_epochs=1.0", "expected an integer >= 1, found 1.0"},
      {"trainer.num_epochs=1e3", "expected an integer >= 1, found 1e3"},
      {"trainer.num_epochs=\"3\"", "expected an integer >= 1, found \"3\""},
      {"trainer.num_epochs=0x10", "expected an integer >= 1, found 0x10"},
      {"trainer.num_epochs=010", "expected an integer >= 1, found 010"},
      {"trainer.num_epochs=true", "expected an integer >= 1, found true"},
      {"trainer.num_epochs=null", "expected an integer >= 1, found nothing (null)"},
      {"trainer.num_epochs=", "expected an integer >= 1, found \"\""},
      {"trainer.num_epochs=[1]", "expected an integer >= 1, found a list of 1"},
      {"trainer.num_epochs={a: 1}", "expected an integer >= 1, found a mapping"},
      {"trainer.num_epochs=!!int 3",
       "expected an integer >= 1, found a value with the tag tag:yaml.org,2002:int"},
      // numbers
      {"trainer.weight_decay=abc", "expected a number >= 0, found abc"},
      {"trainer.weight_decay='0.1'", "expected a number >= 0, found \"0.1\""},
      {"trainer.weight_decay=false", "expected a number >= 0, found false"},
      {"trainer.weight_decay=1e", "expected a number >= 0, found 1e"},
      {"trainer.weight_decay=.nan", "expected a finite number >= 0, found .nan"},
      {"trainer.weight_decay=.inf", "expected a finite number >= 0, found .inf"},
      {"trainer.weight_decay=-.INF", "expected a finite number >= 0, found -.INF"},
      {"trainer.weight_decay=nan", "expected a number >= 0, found nan"},
      {"trainer.weight_decay=1e999", "expected a number that a double can hold >= 0, found 1e999"},
      // bools: the words of YAML 1.1 mean different things to different readers
      {"logging.tensorboard=yes", "expected true or false, found yes"},
      {"logging.tensorboard=on", "expected true or false, found on"},
      {"logging.tensorboard=1", "expected true or false, found 1"},
      {"logging.tensorboard=\"true\"", "expected true or false, found \"true\""},
      // strings
      {"model.base=5", "expected a non-empty string, found 5 (put it in quotes)"},
      {"model.base=true", "expected a non-empty string, found true (put it in quotes)"},
      {"model.base=", "expected a non-empty string, found \"\""},
      {"model.base=null", "expected a non-empty string, found nothing (null)"},
      {"model.init_from=[a]", "expected a string, found a list of 1"},
      // choices
      {"model.dtype=float16",
       "expected one of auto, float32, bfloat16, found float16 (did you mean float32?)"},
      {"model.device=tpu", "expected one of auto, cpu, cuda, found tpu (did you mean cpu?)"},
      {"model.memory_init=5", "expected one of noise, tokens, found 5"},
      {"trainer.schedule=cosin",
       "expected one of cosine, constant, found cosin (did you mean cosine?)"},
      // lists
      {"model.lora.target_modules=q_proj", "expected a list of strings, found q_proj"},
      {"trainer.adam_betas=0.9", "expected a list of 2 numbers in [0, 1), found 0.9"},
      {"trainer.adam_betas=[0.9]", "expected a list of 2 numbers in [0, 1), found a list of 1"},
      {"trainer.adam_betas=[0.9, 0.9, 0.9]",
       "expected a list of 2 numbers in [0, 1), found a list of 3"},
      {"data.train=train.jsonl",
       "expected a list of files, each a path or {path, weight, max_rows}, at least one, found "
       "train.jsonl"},
      {"data.train=[]",
       "expected a list of files, each a path or {path, weight, max_rows}, at least one, found an "
       "empty list"},
      {"output.keep_best=validation/loss",
       "expected {metric, mode} or null, found validation/loss"},
      // sections
      {"model.lora=5",
       "expected a mapping with keys rank, alpha, dropout, target_modules, found 5"},
  };
  for (const auto& [assignment, message] : cases) {
    const std::string key = assignment.substr(0, assignment.find('='));
    EXPECT_EQ(error_of_set("scp", {assignment}), "--set " + key + ": " + message) << assignment;
  }
}

TEST(ConfigErrors, OutOfRangeNumbersSayTheRange) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"model.lora.rank=0", "expected an integer >= 1, found 0"},
      {"model.lora.rank=-3", "expected an integer >= 1, found -3"},
      {"model.lora.rank=3000000000",
       "expected an integer >= 1, found 3000000000 (the largest is 2147483647)"},
      {"model.lora.alpha=0", "expected a number > 0, found 0"},
      {"model.lora.dropout=1", "expected a number in [0, 1), found 1"},
      {"model.lora.dropout=-0.1", "expected a number in [0, 1), found -0.1"},
      {"model.doc_max_tokens=0", "expected an integer >= 1, found 0"},
      {"model.compression_rate=0", "expected an integer >= 1, found 0"},
      {"data.max_rows=-1", "expected an integer >= 0, found -1"},
      {"data.shuffle_seed=-1", "expected an integer >= 0, found -1"},
      {"data.train.0.weight=0", "expected a number > 0, found 0"},
      {"objective.alignment_weight=-1", "expected a number >= 0, found -1"},
      {"trainer.rows_per_step=0", "expected an integer >= 1, found 0"},
      {"trainer.rows_per_micro_batch=0", "expected auto or an integer >= 1, found 0"},
      {"trainer.rows_per_micro_batch=automatic",
       "expected auto or an integer >= 1, found automatic"},
      {"trainer.min_learning_rate_ratio=1.1", "expected a number in [0, 1], found 1.1"},
      {"trainer.warmup_ratio=-0.1", "expected a number in [0, 1], found -0.1"},
      {"trainer.peak_learning_rate=0", "expected a number > 0, found 0"},
      {"trainer.max_gradient_norm=0", "expected a number > 0, found 0"},
      {"output.keep_last=0", "expected an integer >= 1, found 0"},
      {"trainer.seed=18446744073709551616",
       "expected an integer >= 0, found 18446744073709551616 (the largest is "
       "18446744073709551615)"},
  };
  for (const auto& [assignment, message] : cases) {
    const std::string key = assignment.substr(0, assignment.find('='));
    EXPECT_EQ(error_of_set("scp", {assignment}), "--set " + key + ": " + message) << assignment;
  }
  EXPECT_EQ(error_of_set("joint", {"objective.temperature=0"}),
            "--set objective.temperature: expected a number > 0, found 0");
  EXPECT_EQ(error_of_set("joint", {"objective.num_selected=0"}),
            "--set objective.num_selected: expected an integer >= 1, found 0");
}

TEST(ConfigErrors, ListEntriesAreLocatedAtTheirOwnLine) {
  const std::string text =
      "stage: scp\n"
      "model: {base: b}\n"
      "output: {folder: o}\n"
      "data:\n"
      "  train:\n"
      "    - a.jsonl\n"
      "    - 5\n"              // 7
      "    - {weight: 2}\n"    // 8
      "    - path: b.jsonl\n"  // 9
      "      weigth: 2\n"      // 10
      "trainer:\n"
      "  adam_betas: [0.9, 1.5]\n";  // 12
  EXPECT_EQ(error_of(text),
            "run.yaml:7: data.train.1: expected a path or {path, weight, max_rows}, found 5\n"
            "run.yaml:8: data.train.2.path: required key is missing (A .jsonl, .jsonl.gz or .json "
            "file; an entry that is only a string is the path.)\n"
            "run.yaml:10: data.train.3.weigth: unknown key (did you mean data.train.3.weight?)\n"
            "run.yaml:12: trainer.adam_betas.1: expected a number in [0, 1), found 1.5");
}

TEST(ConfigErrors, MissingRequiredKeysAreNamed) {
  EXPECT_EQ(error_of("stage: scp\n"),
            "run.yaml: model.base: required key is missing (Hugging Face folder of the frozen base "
            "model: config.json, *.safetensors, tokenizer files.)\n"
            "run.yaml: data.train: required key is missing (Training files (.jsonl, .jsonl.gz, "
            ".json arrays).)\n"
            "run.yaml: output.folder: required key is missing (The run folder.)");
  EXPECT_EQ(error_of_set("joint", {"output.keep_best.mode=min"}),
            "--set output.keep_best.mode: output.keep_best.metric: required key is missing (Name "
            "of a logged metric, for example validation/recall@5.)");
}

TEST(ConfigErrors, AnEmptyOrWrongSectionIsOneMistake) {
  EXPECT_EQ(error_of(minimal_config("scp") + "logging:\n"),
            "run.yaml:7: logging: expected a mapping with keys every_steps, tensorboard, found "
            "nothing (null) (remove the key, or write {})");
  EXPECT_EQ(
      error_of("stage: scp\nmodel: 5\ndata: {train: [a]}\noutput: {folder: b}\n"),
      "run.yaml:2: model: expected a mapping with keys base, init_from, adapters, "
      "compression_rate, doc_max_tokens, lora, memory_init, dtype, device, chat_format, found 5");
}

TEST(ConfigErrors, WithoutLatentsNothingIsMeasuredOnThem) {
  EXPECT_EQ(
      error_of_set("tune", {"objective.context=text", "objective.latent_token_loss.weight=1"}),
      "--set objective.latent_token_loss.weight: expected 0 where objective.context = text (no "
      "latents are made), found 1.000000");
  EXPECT_EQ(
      error_of_set("tune", {"objective.context=none", "data.validation=[v.jsonl]",
                            "output.keep_best={metric: validation/latent_gap}"}),
      "--set output.keep_best: output.keep_best.metric: expected one of validation/loss, found "
      "\"validation/latent_gap\"");
}

TEST(ConfigErrors, FieldsOfAnotherStageSayWhichStagesUseThem) {
  const std::string text = minimal_config("scp") + "objective:\n  temperature: 0.1\n";
  EXPECT_EQ(error_of(text),
            "run.yaml:8: objective.temperature: not used by stage scp, only by joint and retriever "
            "(remove it, or change the stage)");
  const auto error = [](const std::string& stage, const std::string& key) {
    return error_of_set(stage, {"objective." + key});
  };
  EXPECT_EQ(error("scp", "temperature=0.1"),
            "--set objective.temperature: not used by stage scp, only by joint and retriever "
            "(remove it, or change the stage)");
  EXPECT_EQ(error("joint", "latent_token_loss={weight: 1}"),
            "--set objective.latent_token_loss: objective.latent_token_loss.weight: not used by "
            "stage joint, only by scp and tune (remove it, or change the stage)");
  EXPECT_EQ(error("scp", "num_selected=3"),
            "--set objective.num_selected: not used by stage scp, only by tune, joint and "
            "retriever (remove it, or change the stage)");
  EXPECT_EQ(error("retriever", "generator_init=reset"),
            "--set objective.generator_init: not used by stage retriever, only by tune (remove it, "
            "or change the stage)");
  EXPECT_EQ(error("retriever", "topk_mask=exact"),
            "--set objective.topk_mask: not used by stage retriever, only by joint (remove it, or "
            "change the stage)");
}

TEST(ConfigErrors, TheStageMustAgreeWithTheCommand) {
  const ConfigOverrides tune{.stage = Stage::kTune, .assignments = {}};
  EXPECT_EQ(error_of(minimal_config("joint") + "objective: {temperature: 0.1}\n", tune),
            "run.yaml:1: stage: expected tune (the stage of the command), found joint (use the "
            "command of that stage, or another config)");
  EXPECT_EQ(error_of(minimal_config("tune"), {.stage = Stage::kTune, .assignments = {"stage=scp"}}),
            "--set stage: expected tune (the stage of the command), found scp (use the command of "
            "that stage, or another config)");
  EXPECT_EQ(error_of(minimal_config("jont"), tune),
            "run.yaml:1: stage: expected one of scp, tune, joint, retriever, found jont (did you "
            "mean joint?)");
  EXPECT_EQ(error_of("model: {base: b}\ndata: {train: [a]}\noutput: {folder: o}\n"),
            "run.yaml: stage: required key is missing: one of scp, tune, joint, retriever");
}

TEST(ConfigErrors, FieldsThatDoNotFitTogetherAreReportedWhereTheyStand) {
  EXPECT_EQ(error_of_set("scp", {"model.doc_max_tokens=40"}),
            "--set model.doc_max_tokens: model.compression_rate: expected a rate that divides "
            "model.doc_max_tokens = 40 (1, 2, 4, 5, 8, 10, 20, 40), found 16");
  EXPECT_EQ(error_of(minimal_config("tune") + "objective:\n"
                                              "  latent_token_loss:\n"
                                              "    weight: 1\n"
                                              "    only_steps: 20\n"
                                              "    steps: 10\n"),
            "run.yaml:10: objective.latent_token_loss.only_steps: expected at most "
            "objective.latent_token_loss.steps = 10, found 20");
  EXPECT_EQ(error_of_set("scp", {"objective.latent_token_loss={steps: 5, only_steps: 5}"}),
            "--set objective.latent_token_loss: objective.latent_token_loss.only_steps: expected 0 "
            "where objective.latent_token_loss.weight = 0 (those steps would have no loss), found "
            "5");
  EXPECT_EQ(
      error_of_set("joint", {"objective.query_reasoner_init=checkpoint"}),
      "--set objective.query_reasoner_init: expected model.init_from to name the checkpoint, "
      "found it empty (give it or model.adapters.query_reasoner, or use compressor or random)");
  EXPECT_EQ(error_of_set("joint", {"objective.query_reasoner_init=checkpoint",
                                   "model.init_from=runs/joint/final"}),
            "");
  EXPECT_EQ(error_of_set("joint", {"objective.query_reasoner_init=checkpoint",
                                   "model.adapters.query_reasoner=peft"}),
            "");
  EXPECT_EQ(error_of_set("joint", {"data.validation.0.path=v.jsonl",
                                   "output.keep_best.metric=validation/recal@5"}),
            "--set output.keep_best.metric: expected one of "
            "validation/loss, validation/recall@1, validation/recall@3, validation/recall@5, "
            "validation/num_with_positives, found \"validation/recal@5\"");
  EXPECT_EQ(error_of_set("scp", {"output.keep_best.metric=validation/loss"}),
            "--set output.keep_best.metric: expected data.validation to be given for "
            "validation/loss, found it empty (give validation files, or keep_best: null)");
}

TEST(ConfigErrors, ListIndicesMustExistOrBeTheNext) {
  EXPECT_EQ(error_of_set("scp", {"data.train.2=a.jsonl"}),
            "--set data.train.2: expected a list index from 0 to 1 (one past the end adds an "
            "entry), found 2");
  EXPECT_EQ(error_of_set("scp", {"data.train.first=a.jsonl"}),
            "--set data.train.first: expected a list index from 0 to 1 (one past the end adds an "
            "entry), found first");
  EXPECT_EQ(error_of_set("scp", {"data.train.99999999999999999999=a"}),
            "--set data.train.99999999999999999999: expected a list index from 0 to 1 (one past "
            "the end adds an entry), found 99999999999999999999");
  EXPECT_EQ(error_of_set("scp", {"data.train.1.weight=2"}),
            "--set data.train.1.weight: data.train.1.path: required key is missing (A .jsonl, "
            ".jsonl.gz or .json file; an entry that is only a string is the path.)");
  EXPECT_EQ(error_of_set("scp", {"trainer.adam_betas.2=0.5"}),
            "--set trainer.adam_betas.2: expected an index below 2, found 2");
  EXPECT_EQ(error_of_set("scp", {"model.lora.target_modules.0="}),
            "--set model.lora.target_modules.0: expected a non-empty string, found \"\"");
}

TEST(ConfigErrors, SyntaxErrorsSayLineAndColumn) {
  const std::string yaml = error_of("stage: scp\nmodel: {base: b\ndata: [\n");
  EXPECT_EQ(yaml.rfind("run.yaml:", 0), 0U) << yaml;
  EXPECT_NE(yaml.find("no valid YAML or JSON ("), std::string::npos) << yaml;
  const std::string tab = error_of("stage: scp\nmodel:\n\tbase: b\n");
  EXPECT_EQ(tab.rfind("run.yaml:3:", 0), 0U) << tab;
  const std::string set = error_of_set("scp", {"model.lora={rank: [}"});
  EXPECT_EQ(set.rfind("--set model.lora: expected a YAML value, found {rank: [}: ", 0), 0U) << set;
  EXPECT_EQ(error_of_set("scp", {"=5"}), "--set =5: expected key.path=value, found =5");
}

TEST(ConfigErrors, AFileIsOneMappingOfSections) {
  EXPECT_EQ(
      error_of(""),
      "run.yaml: expected a mapping of sections (stage, model, data, …), found an empty file");
  EXPECT_EQ(error_of("# nothing\n"), error_of(""));
  EXPECT_EQ(error_of("- a\n- b\n"),
            "run.yaml:1: expected a mapping with keys stage, model, data, objective, trainer, "
            "output, logging, parallel, found a list of 2");
  EXPECT_EQ(error_of("a: 1\n---\nb: 2\n"),
            "run.yaml: expected one YAML document, found several (separated by ---, or by a stray "
            "comma or bracket)");
  EXPECT_EQ(error_of("---\n" + minimal_config("scp") + "...\n"), "");
  EXPECT_EQ(error_of(minimal_config("scp") + "---\n").find("expected one YAML document"), 10U);
  EXPECT_NE(error_of(std::string("4\0\\u", 4)), "") << "JSON up to its NUL";
  // yaml-cpp 0.7 reads these as documents without end.
  for (const char* text : {", a", "]", "}", "a: 1\n, b"})
    EXPECT_EQ(error_of(text).rfind("run.yaml:", 0), 0U) << text << ": " << error_of(text);
  EXPECT_EQ(error_of_set("scp", {"trainer.adam_betas=,.9"}),
            "--set trainer.adam_betas: expected one YAML value, found ,.9");
  EXPECT_EQ(error_of(minimal_config("scp") + "? [a, b]\n: 1\n"),
            "run.yaml:7: expected a name as key, found a list of 2");
}

TEST(ConfigErrors, AMissingFileSaysSoAndWhatToCheck) {
  const auto error = [](const std::filesystem::path& path) -> std::string {
    try {
      load_run_config(path);
    } catch (const ConfigError& caught) {
      return caught.what();
    }
    return "";
  };
  EXPECT_EQ(error("no/such/config.yaml"),
            "no/such/config.yaml: expected a config file, found nothing at this path (check "
            "--config; paths are relative to the current folder)");
  EXPECT_EQ(error("."), ".: expected a config file, found a folder (name the .yaml file in it)");
}

TEST(ConfigErrors, AFileIsNamedByItsPath) {
  const std::filesystem::path path =
      std::filesystem::path(::testing::TempDir()) / "clara_config_errors_test.yaml";
  std::ofstream(path) << minimal_config("scp") << "trainer: {sed: 1}\n";
  try {
    load_run_config(path);
    ADD_FAILURE() << "loaded";
  } catch (const ConfigError& caught) {
    EXPECT_EQ(std::string(caught.what()),
              path.string() + ":7: trainer.sed: unknown key (did you mean trainer.seed?)");
  }
  std::filesystem::remove(path);
}

TEST(ConfigErrors, NoTextMakesTheLoaderThrowAnythingElse) {
  // Every prefix of a good file and every file with one character replaced loads or gives a
  // ConfigError.
  const std::string good = full_joint_config();
  for (std::size_t i = 0; i < good.size(); ++i) {
    EXPECT_NO_THROW(error_of(good.substr(0, i))) << i;
    if (i % 4 != 0) continue;
    for (const char c : {'{', ']', ':', '&', '*', '\t', '"', '\0', '\xff'}) {
      std::string changed = good;
      changed[i] = c;
      EXPECT_NO_THROW(error_of(changed)) << i << " " << static_cast<int>(c);
    }
  }
}

}  // namespace
}  // namespace clara::test
